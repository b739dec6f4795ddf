"""
What the host is told about signing in with Google.
"""

from typing import Any

import pytest
from gateway_gdrive import gateway_register_identities
from gateway_gdrive.identity import GoogleSignInSettings, sign_in_profile


def settings(**changes: Any) -> GoogleSignInSettings:
    return GoogleSignInSettings(**{"client_id": "the-client", "client_secret": "kept", **changes})


def test_googles_own_addresses_are_usual() -> None:
    facts = sign_in_profile(settings())

    assert ("https://accounts.google.com", "accounts.google.com") == facts.issuers
    assert ("sub",) == facts.subject_claims
    assert facts.names_issuer


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"keys_url": "ftp://example.org"}, "keys_url"),
        ({"issuers": ()}, "issuers"),
        ({"issuers": ("",)}, "issuers"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings(**changes)


def test_the_secret_is_told_as_such_and_not_printed() -> None:
    (kind,) = gateway_register_identities()

    assert ("google", {"client_secret"}) == (kind.space, kind.secret_settings)
    assert "kept" not in repr(settings())
    assert "kept" not in repr(sign_in_profile(settings()))
