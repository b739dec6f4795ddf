"""
What the host is told about signing in with Microsoft.
"""

from typing import Any

import pytest
from gateway_onedrive import gateway_register_identities
from gateway_onedrive.identity import PERSONAL_TENANT, MicrosoftSignInSettings, sign_in_profile

ORGANISATION = "3d1c5f0e-6a1b-4a53-9f4e-0b6c2a7d8e9f"


def settings(**changes: Any) -> MicrosoftSignInSettings:
    return MicrosoftSignInSettings(**{"client_id": "the-app", "client_secret": "kept", **changes})


@pytest.mark.parametrize(
    ("tenant", "let_in"),
    [
        ("common", None),
        ("organizations", None),
        ("consumers", {PERSONAL_TENANT}),
        (ORGANISATION, {ORGANISATION}),
    ],
)
def test_the_tenant_decides_whose_tokens_count(tenant: str, let_in: set[str] | None) -> None:
    facts = sign_in_profile(settings(tenant=tenant))

    assert let_in == facts.tenants
    assert facts.token_url == f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    assert ("https://login.microsoftonline.com/{tid}/v2.0",) == facts.issuers


def test_a_person_is_never_an_address() -> None:
    assert ("tid", "oid") == sign_in_profile(settings()).subject_claims


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        # A token tells the id of its tenant, and nothing of its domains.
        ({"tenant": "example.onmicrosoft.com"}, "tenant"),
        ({"tenant": "../common"}, "tenant"),
        ({"login_url": "login.example.org"}, "login_url"),
        ({"login_url": "https://login.example.org/"}, "login_url"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings(**changes)


def test_the_secret_is_told_as_such_and_not_printed() -> None:
    (kind,) = gateway_register_identities()

    assert ("microsoft", {"client_secret"}) == (kind.space, kind.secret_settings)
    assert "kept" not in repr(settings())
    assert "kept" not in repr(sign_in_profile(settings()))
