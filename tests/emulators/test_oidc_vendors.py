"""
In what Google, Microsoft and Dropbox differ as OpenID providers; Google's and Microsoft's own libraries get on with them.
"""

import ssl
import urllib.error
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import google.auth.transport.requests
import google.oauth2.id_token
import jwt
import msal
import pytest
import requests
import trustme
from yarl import URL

from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.oidc import (
    PERSONAL_TENANT,
    DropboxSignIn,
    Forgery,
    GoogleSignIn,
    MicrosoftSignIn,
    SignIn,
)

REDIRECT: Final = "http://127.0.0.1:9/v1/auth/callback"

Ask = Callable[..., Any]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


async def signed_in(
    http: aiohttp.ClientSession, provider: SignIn, account: Any, *, at: str | None = None, **changes: str
) -> dict[str, Any]:
    """
    Return the token endpoint's answer to a sign-in that asked at *at*, the provider's address without.
    """
    async with http.get(f"{at or provider.issuer}/.well-known/openid-configuration") as answer:
        metadata = await answer.json()
    asked = {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid email profile",
        "nonce": "n",
        **changes,
    }
    back = URL(provider.approve(str(URL(metadata["authorization_endpoint"]).with_query(asked)), account))
    form = {
        "grant_type": "authorization_code",
        "client_id": asked["client_id"],
        "client_secret": CLIENT_SECRET,
        "redirect_uri": REDIRECT,
        "code": back.query["code"],
    }
    async with http.post(metadata["token_endpoint"], data=form) as answer:
        document: dict[str, Any] = await answer.json()
        assert 200 == answer.status, document
        return document


def unchecked(tokens: dict[str, Any]) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    return claims


# Google


async def test_googles_claims(http: aiohttp.ClientSession) -> None:
    with GoogleSignIn() as provider:
        provider.register(REDIRECT)
        account = provider.new_account("Ada Lovelace", hosted_domain="example.org")
        claims = unchecked(await signed_in(http, provider, account))
        assert {
            "iss": provider.url,
            "aud": CLIENT_ID,
            "azp": CLIENT_ID,
            "sub": account.subject,
            "email": account.email,
            "email_verified": True,
            "hd": "example.org",
            "name": "Ada Lovelace",
            "given_name": "Ada",
            "family_name": "Lovelace",
            "nonce": "n",
        }.items() <= claims.items()
        assert account.subject.isdecimal()
        assert 21 == len(account.subject)
        provider.oauth.names_issuer_bare = True
        account.is_email_verified = False
        claims = unchecked(await signed_in(http, provider, account))
        assert (provider.url.removeprefix("http://"), False) == (claims["iss"], claims["email_verified"])


async def test_googles_own_library_accepts_what_is_good_and_nothing_else(http: aiohttp.ClientSession) -> None:
    with GoogleSignIn() as provider:
        provider.register(REDIRECT)
        account = provider.new_account()
        keys = f"{provider.url}/oauth2/v3/certs"
        transport = google.auth.transport.requests.Request()

        def checked(tokens: dict[str, Any]) -> Any:
            return google.oauth2.id_token.verify_token(tokens["id_token"], transport, CLIENT_ID, keys)

        assert account.subject == checked(await signed_in(http, provider, account))["sub"]
        for forgery in (
            Forgery.BAD_SIGNATURE,
            Forgery.CHANGED_CLAIMS,
            Forgery.EMBEDDED_KEY,
            Forgery.EXPIRED,
            Forgery.FOREIGN_KEY,
            Forgery.MAC_BY_PUBLIC_KEY,
            Forgery.NO_SIGNATURE,
            Forgery.UNKNOWN_KEY_ID,
            Forgery.WRONG_AUDIENCE,
        ):
            provider.oauth.forge(forgery)
            tokens = await signed_in(http, provider, account)
            with pytest.raises(jwt.PyJWTError):
                checked(tokens)
        transport.session.close()


async def test_google_gives_a_refresh_token_once_and_only_for_offline_access(
    http: aiohttp.ClientSession,
) -> None:
    with GoogleSignIn() as provider:
        provider.register(REDIRECT)
        account = provider.new_account()
        assert "refresh_token" not in await signed_in(http, provider, account)
        provider.oauth.revoke(account)
        tokens = await signed_in(http, provider, account, access_type="offline")
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": tokens["refresh_token"],
        }
        async with http.post(f"{provider.url}/token", data=form) as answer:
            claims = unchecked(await answer.json())
        assert (account.subject, False) == (claims["sub"], "nonce" in claims)


# Microsoft


async def test_microsofts_claims_are_of_the_accounts_own_tenant(http: aiohttp.ClientSession) -> None:
    with MicrosoftSignIn() as provider:
        provider.register(REDIRECT)
        provider.register(REDIRECT, client_id="second")
        tenant = provider.new_tenant()
        person, worker = provider.new_account("Ada"), provider.new_account("Bo", tenant=tenant)
        for account, expected in ((person, PERSONAL_TENANT), (worker, tenant)):
            claims = unchecked(await signed_in(http, provider, account))
            assert {
                "iss": f"{provider.url}/{expected}/v2.0",
                "tid": expected,
                "oid": account.subject,
                "preferred_username": account.email,
                "email": account.email,
                "ver": "2.0",
                "nonce": "n",
            }.items() <= claims.items()
            assert not {"email_verified", "at_hash", "azp"} & claims.keys()
            other = unchecked(await signed_in(http, provider, account, client_id="second"))
            assert ("second", account.subject) == (other["aud"], other["oid"])
            assert claims["sub"] != other["sub"]


async def test_without_the_scope_profile_there_is_no_oid(http: aiohttp.ClientSession) -> None:
    with MicrosoftSignIn() as provider:
        provider.register(REDIRECT)
        claims = unchecked(await signed_in(http, provider, provider.new_account(), scope="openid"))
        assert ({"sub", "tid"}, set()) == (claims.keys() & {"sub", "tid"}, claims.keys() & {"oid", "email"})


async def test_each_of_microsofts_addresses_tells_its_issuer_and_lets_in_its_own(
    http: aiohttp.ClientSession,
) -> None:
    with MicrosoftSignIn() as provider:
        provider.register(REDIRECT)
        tenant, other = provider.new_tenant(), provider.new_tenant()
        person, worker = provider.new_account("Ada"), provider.new_account("Bo", tenant=tenant)
        for at, issuer, let_in in (
            ("common", "{tenantid}", {"Ada", "Bo"}),
            ("organizations", "{tenantid}", {"Bo"}),
            ("consumers", PERSONAL_TENANT, {"Ada"}),
            (tenant, tenant, {"Bo"}),
            (other, other, set()),
        ):
            root = f"{provider.url}/{at}/v2.0"
            async with http.get(f"{root}/.well-known/openid-configuration") as answer:
                assert f"{provider.url}/{issuer}/v2.0" == (await answer.json())["issuer"]
            found = set()
            for account in (person, worker):
                try:
                    await signed_in(http, provider, account, at=root)
                    found.add(account.name)
                except urllib.error.HTTPError:
                    continue
            assert let_in == found
        unknown = f"{provider.url}/{PERSONAL_TENANT.replace('9', '8')}/v2.0/.well-known/openid-configuration"
        async with http.get(unknown) as answer:
            assert (400, [90002]) == (answer.status, (await answer.json())["error_codes"])


async def test_microsofts_keys_tell_whose_tokens_they_are_good_for(http: aiohttp.ClientSession) -> None:
    with MicrosoftSignIn() as provider:
        provider.oauth.keys.rotate().members["issuer"] = f"{provider.url}/{PERSONAL_TENANT}/v2.0"
        async with http.get(f"{provider.url}/common/discovery/v2.0/keys") as answer:
            keys = (await answer.json())["keys"]
        issuers = [f"{provider.url}/{{tenantid}}/v2.0", f"{provider.url}/{PERSONAL_TENANT}/v2.0"]
        assert issuers == [key["issuer"] for key in keys]
        assert [key["kid"] for key in keys] == [key["x5t"] for key in keys]


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """
    A server's certificate, and the file that makes a client trust it.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return context, file


@pytest.mark.parametrize("is_oidc", [False, True])
def test_microsofts_own_library_signs_in(certificates: tuple[ssl.SSLContext, Path], is_oidc: bool) -> None:
    context, file = certificates
    with MicrosoftSignIn(tls=context) as provider, requests.Session() as session:
        # This machine's own certificates would win over what is trusted here.
        session.trust_env, session.verify = False, str(file)
        provider.register(REDIRECT)
        tenant = provider.new_tenant()
        account = provider.new_account(tenant=tenant)
        authority = (
            {"oidc_authority": f"{provider.url}/{tenant}/v2.0"}
            if is_oidc
            else {
                "authority": f"{provider.url}/common",
                "instance_discovery": False,
            }
        )
        app = msal.ConfidentialClientApplication(
            CLIENT_ID, client_credential=CLIENT_SECRET, http_client=session, **authority
        )

        def answer(flow: dict[str, Any]) -> dict[str, Any]:
            back = URL(provider.approve(flow["auth_uri"], account))
            found: dict[str, Any] = app.acquire_token_by_auth_code_flow(flow, dict(back.query))
            return found

        def begun() -> dict[str, Any]:
            with pytest.warns(UserWarning, match="form_post"):
                flow: dict[str, Any] = app.initiate_auth_code_flow(["User.Read"], redirect_uri=REDIRECT)
            return flow

        told = answer(begun())
        claims = told["id_token_claims"]
        assert (tenant, account.subject) == (claims["tid"], claims["oid"])
        assert "refresh_token" in told
        provider.oauth.forge(Forgery.OTHER_NONCE)
        with pytest.raises(RuntimeError, match="nonce"):
            answer(begun())


# Dropbox


async def test_dropboxs_claims(http: aiohttp.ClientSession) -> None:
    with DropboxSignIn() as provider:
        provider.register(REDIRECT)
        account = provider.new_account("Ada Lovelace", team_id="dbtid:AAA")
        claims = unchecked(await signed_in(http, provider, account))
        assert {
            "iss": provider.url,
            "aud": CLIENT_ID,
            "sub": account.subject,
            "email": account.email,
            "email_verified": True,
            "given_name": "Ada",
            "family_name": "Lovelace",
            "dropbox:team_id": "dbtid:AAA",
            "auth_time": claims["iat"],
        }.items() <= claims.items()
        assert account.subject.startswith("dbid:")
        assert not {"name", "azp", "at_hash"} & claims.keys()
        provider.oauth.echoes_nonce = False
        assert "nonce" not in unchecked(await signed_in(http, provider, account))


async def test_dropboxs_discovery_tells_no_userinfo_and_its_kid_is_padded(
    http: aiohttp.ClientSession,
) -> None:
    with DropboxSignIn() as provider:
        async with http.get(f"{provider.url}/.well-known/openid-configuration") as answer:
            metadata = await answer.json()
        assert not {"userinfo_endpoint", "code_challenge_methods_supported"} & metadata.keys()
        async with http.get(metadata["jwks_uri"]) as answer:
            assert (await answer.json())["keys"][0]["kid"].endswith("=")


async def test_dropbox_wants_email_or_profile_beside_openid(http: aiohttp.ClientSession) -> None:
    with DropboxSignIn() as provider:
        provider.register(REDIRECT)
        asked = {"client_id": CLIENT_ID, "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid"}
        url = str(URL(f"{provider.url}/oauth2/authorize").with_query(asked))
        assert "invalid_scope" == URL(provider.approve(url, provider.new_account())).query["error"]
