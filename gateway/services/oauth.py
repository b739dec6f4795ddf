"""
OAuth 2.0 as a client speaks it: the authorization request, and the token endpoint.

RFC 6749 with PKCE (RFC 7636, S256). No message of an error here holds a token, a code or what a provider wrote.
"""

import asyncio
import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from gateway.api import (
    AuthRevoked,
    BackendError,
    Grant,
    Misconfigured,
    OAuthProfile,
    RateLimited,
    TokenRequest,
    Transient,
)

_MOST_BYTES: Final = 64 * 1024
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)

_DEAD_GRANT: Final = frozenset(
    {"invalid_grant", "interaction_required", "consent_required", "login_required", "access_denied"}
)
_TRY_AGAIN: Final = frozenset({"temporarily_unavailable", "server_error", "internal_failure", "slow_down"})


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """
    What a token endpoint gave.
    """

    grant: Grant
    grant_lasts_s: int | None = None
    """When the grant itself ends, where the provider says that."""


@dataclass(frozen=True, slots=True)
class Proof:
    """
    PKCE's secret and what is shown of it.
    """

    verifier: str = field(repr=False)

    @classmethod
    def new(cls) -> "Proof":
        return cls(secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def authorization_url(
    profile: OAuthProfile, *, state: str, proof: Proof, redirect_uri: str, scopes: tuple[str, ...]
) -> str:
    """
    Return where the user's browser goes to consent.
    """
    parameters = {
        **profile.authorize_parameters,
        "response_type": "code",
        "client_id": profile.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": proof.challenge,
        "code_challenge_method": "S256",
    }
    return str(URL(profile.authorize_url).update_query(parameters))


class TokenEndpoint:
    """
    Asks the providers' token endpoints, each in its own way or by the host's form post.
    """

    def __init__(self, http: aiohttp.ClientSession, *, timeout_s: float) -> None:
        self._http = http
        self._timeout_s = timeout_s

    async def ask(self, profile: OAuthProfile, request: TokenRequest) -> TokenAnswer:
        """
        Exchange a code, or refresh.

        Raises:
            AuthRevoked: the code or the grant is dead.
            Misconfigured: the operator's client is not accepted.
            Transient: there was no answer, or one that says to try again.
            BackendError: the answer makes no sense.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                if profile.exchange is not None:
                    return TokenAnswer(await profile.exchange(request))
                return await self._post(profile, request)
        except BackendError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            # Without its cause: a library's error may quote the request.
            raise Transient(f"The provider's token server did not answer ({type(exc).__name__}).") from None
        except Exception as exc:  # noqa: BLE001 - a plugin's own exchange may raise anything
            raise BackendError(f"Asking the provider for tokens failed ({type(exc).__name__}).") from None

    async def _post(self, profile: OAuthProfile, request: TokenRequest) -> TokenAnswer:
        async with self._http.post(
            profile.token_url,
            data=_form(profile, request),
            headers={"Accept": "application/json"},
            allow_redirects=False,
        ) as response:
            body = await response.content.read(_MOST_BYTES + 1)
            while len(body) <= _MOST_BYTES and (more := await response.content.read(_MOST_BYTES)):
                body += more
            fields = {} if len(body) > _MOST_BYTES else _fields(body)
            if response.status != 200:
                raise _refusal(response.status, response.headers.get("Retry-After"), fields)
            return _answer(fields)


def _form(profile: OAuthProfile, request: TokenRequest) -> dict[str, str]:
    form = {"client_id": profile.client_id}
    if profile.client_secret is not None:
        form["client_secret"] = profile.client_secret
    if request.refresh_token is not None:
        form |= {"grant_type": "refresh_token", "refresh_token": request.refresh_token}
        return form
    assert request.code is not None
    form |= {"grant_type": "authorization_code", "code": request.code}
    if request.redirect_uri is not None:
        form["redirect_uri"] = request.redirect_uri
    if request.code_verifier is not None:
        form["code_verifier"] = request.code_verifier
    return form


def _fields(body: bytes) -> Mapping[str, Any]:
    """
    Read an answer: JSON, or the form that some give errors in.
    """
    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body.decode("ascii", "replace")
        return dict(URL.build(query_string=text).query) if text.startswith("error=") else {}
    return read if isinstance(read, dict) else {}


def _answer(fields: Mapping[str, Any]) -> TokenAnswer:
    access = fields.get("access_token")
    if not isinstance(access, str) or not access:
        if fields.get("error"):
            raise _refusal(200, None, fields)
        raise BackendError("The provider's token server answered something that is no token.")
    if str(fields.get("token_type", "bearer")).lower() != "bearer":
        raise BackendError("The provider gave a token of a type that is not known here.")
    refresh = fields.get("refresh_token")
    scope = fields.get("scope")
    grant = Grant(
        access_token=access,
        expires_in_s=_seconds(fields.get("expires_in")),
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        scopes=frozenset(scope.split()) if isinstance(scope, str) else None,
    )
    return TokenAnswer(grant, _seconds(fields.get("refresh_token_expires_in")))


def _seconds(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _refusal(status: int, retry_after: str | None, fields: Mapping[str, Any]) -> BackendError:
    """
    Say what an answer means that brought no token.
    """
    told = fields.get("error")
    code = told if isinstance(told, str) and _CODE.fullmatch(told) else None
    what = f"{status} {code}" if code else str(status)
    if status == 429:
        wait = timedelta(seconds=int(retry_after)) if retry_after and retry_after.isdigit() else None
        return RateLimited(
            "The provider's token server wants fewer requests.", retry_after=wait, provider_code=code
        )
    if status >= 500 or status == 408 or code in _TRY_AGAIN:
        return Transient(f"The provider's token server answered {what}.", provider_code=code)
    if code in _DEAD_GRANT:
        return AuthRevoked(f"The provider does not accept the grant any more ({what}).", provider_code=code)
    return Misconfigured(
        f"The provider's token server does not accept this gateway's request ({what}).", provider_code=code
    )
