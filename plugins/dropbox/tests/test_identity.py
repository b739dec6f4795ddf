"""
What the host is told about signing in with Dropbox.
"""

from typing import Any

import pytest
from gateway_dropbox import gateway_register_identities
from gateway_dropbox.identity import DropboxSignInSettings, sign_in_profile


def settings(**changes: Any) -> DropboxSignInSettings:
    return DropboxSignInSettings(**{"client_id": "the-app", "client_secret": "kept", **changes})


def test_dropboxs_own_addresses_are_usual() -> None:
    facts = sign_in_profile(settings())

    assert ("https://www.dropbox.com",) == facts.issuers
    assert "https://www.dropbox.com/.well-known/jwks" == facts.keys_url
    assert "https://api.dropboxapi.com/oauth2/token" == facts.token_url
    assert not facts.repeats_nonce


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"web_root": "https://www.example.org/"}, "web_root"),
        ({"api_root": "example.org"}, "api_root"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings(**changes)


def test_the_secret_is_told_as_such_and_not_printed() -> None:
    (kind,) = gateway_register_identities()

    assert ("dropbox", {"client_secret"}) == (kind.space, kind.secret_settings)
    assert "kept" not in repr(settings())
    assert "kept" not in repr(sign_in_profile(settings()))
