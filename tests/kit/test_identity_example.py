"""
That the way of signing in which authors of plugins are shown lets people in.
"""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from gateway.backends.loader import checked_settings, load_plugins
from gateway.base.errors import ConfigurationError
from tests.backends.distributions import install
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.oidc import GoogleSignIn
from tests.http.test_openid import App
from tests.support.gateway import serving
from tests.support.tree import ROOT

EXAMPLE = ROOT / "docs" / "plugins" / "company"
SETTINGS = {
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "issuer": "https://login.example.org",
    "authorize_url": "https://login.example.org/authorize",
    "token_url": "https://login.example.org/token",
    "keys_url": "https://login.example.org/keys",
}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Installs the example beside what is installed here, with the entry points that it declares.
    """
    entry_points = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    install(
        tmp_path,
        "recording-gateway-company",
        {},
        plugins=entry_points["gateway.plugins"],
        identities=entry_points["gateway.identities"],
    )
    distributions = metadata.distributions
    monkeypatch.setattr(
        metadata, "distributions", lambda: [*distributions(), *distributions(path=[str(tmp_path)])]
    )


class CompanySignIn(GoogleSignIn):
    """
    Another provider that keeps to OpenID Connect.
    """

    kind = "company"


async def test_somebody_signs_in_with_it(tmp_path: Path) -> None:
    with CompanySignIn() as provider:
        settings = {
            **SETTINGS,
            "issuer": provider.url,
            "authorize_url": f"{provider.url}/o/oauth2/v2/auth",
            "token_url": f"{provider.url}/token",
            "keys_url": f"{provider.url}/oauth2/v3/certs",
        }
        sign_in = {"kinds": {"company": settings}, "return_to": ["org.example.app:/signed-in"]}
        async with serving(tmp_path / "data", with_workers=False, sign_in=sign_in) as served:
            provider.register(f"{served.url}/v1/auth/company/callback")
            account = provider.new_account()
            app = App(served, provider, account)

            tokens = await app.sign_in()

            mine = {"Authorization": f"Bearer {tokens['access_token']}"}
            held = (await app.call("GET", "/v1/me/identities", **mine)).document["identities"]
            assert [("company", account.email)] == [(one["way"], one["label"]) for one in held]
            ways = (await app.call("GET", "/v1/auth")).document["ways"]
            assert [{"way": "company", "title": "Your company account", "by": "consent"}] == ways


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"client_id": ""}, "client_id must not be empty"), ({"token_url": "login"}, "token_url must be a URL")],
)
def test_settings_that_make_no_sense_are_told(changed: dict[str, str], told: str) -> None:
    kind = load_plugins(wanted=(), wanted_identities={"company"}).identities["company"]
    with pytest.raises(ConfigurationError, match=told):
        checked_settings(kind, "sign_in.kinds.company", {**SETTINGS, **changed})
