"""
OpenID Connect as a relying party speaks it: the code flow with PKCE, and the checks of an ID token.

OpenID Connect Core 1.0 §3.1.3.7; signatures are checked even though the token came straight from its issuer.
No message of an error here holds a token, a code, a claim or what a provider wrote.
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import jwt
import msgspec
import structlog
from yarl import URL

from gateway.api import OpenIdProfile
from gateway.base.clock import Clock
from gateway.services.errors import IdentityRefused, ProviderUnavailable
from gateway.services.oauth import Proof

log = structlog.get_logger()

_MOST_BYTES: Final = 256 * 1024
_LEEWAY_S: Final = 120
"""How far a provider's clock and ours may be apart."""
_LONGEST_AGE_S: Final = 900
"""An ID token was made for this sign-in, so it is young."""
_KEYS_LIVE_S: Final = 3600
_KEYS_AGAIN_S: Final = 30
"""An unknown key is asked for no more often, or strangers could have us ask all day."""
_DISCOVERY: Final = "/.well-known/openid-configuration"
_LONGEST_CODE: Final = 8192
_TENANT: Final = "[A-Za-z0-9-]+"
_OURS: Final = ("invalid_client", "unauthorized_client")
"""Errors (RFC 6749 §5.2) that the operator alone can mend."""


@dataclass(frozen=True, slots=True)
class Person:
    """
    Whom a provider knows: its lasting name of him, and what he recognises the account by.
    """

    subject: str
    label: str


def authorization_url(
    profile: OpenIdProfile, *, state: str, nonce: str, proof: Proof, redirect_uri: str
) -> str:
    """
    Return where the browser goes to sign in.
    """
    parameters = {
        **profile.authorize_parameters,
        "response_type": "code",
        "client_id": profile.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(profile.scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": proof.challenge,
        "code_challenge_method": "S256",
    }
    return str(URL(profile.authorize_url).update_query(parameters))


class OpenIdClient:
    """
    Exchanges codes, and says who an ID token is of.
    """

    def __init__(self, http: aiohttp.ClientSession, clock: Clock, *, timeout_s: float) -> None:
        self._http = http
        self._clock = clock
        self._timeout_s = timeout_s
        self._keys: dict[str, _Keys] = {}
        self._fetching: dict[str, asyncio.Lock] = {}

    async def person(
        self, profile: OpenIdProfile, *, code: str, verifier: str, redirect_uri: str, nonce: str
    ) -> Person:
        """
        Exchange *code* and return whom its ID token is of.

        Raises:
            IdentityRefused: the code or the token is none that counts here.
            ProviderUnavailable: it does not answer now.
        """
        return person_of(
            profile,
            await self.claims(profile, code=code, verifier=verifier, redirect_uri=redirect_uri, nonce=nonce),
        )

    async def claims(
        self, profile: OpenIdProfile, *, code: str, verifier: str, redirect_uri: str, nonce: str
    ) -> Mapping[str, Any]:
        """
        Exchange *code* and return what its ID token says.

        Raises:
            IdentityRefused: the code or the token is none that counts here.
            ProviderUnavailable: it does not answer now.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": profile.client_id,
            "code_verifier": verifier,
        }
        if profile.client_secret is not None:
            form["client_secret"] = profile.client_secret
        answer = await self._json("POST", profile.token_url, form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise IdentityRefused("the provider sent no proof of identity")
        claims = await self._checked(profile, token, nonce)
        access = answer.get("access_token")
        if isinstance(claims.get("at_hash"), str) and isinstance(access, str):
            _check_at_hash(access, claims["at_hash"])
        return claims

    async def discovered(self, issuer: str) -> Mapping[str, Any]:
        """
        Return what the provider *issuer* tells of itself (OpenID Connect Discovery 1.0).

        Raises:
            ProviderUnavailable: it does not answer now, or what it tells is about another one.
        """
        document = await self._json("GET", issuer.rstrip("/") + _DISCOVERY)
        if document.get("issuer") != issuer:
            log.error("openid.discovery_of_another", issuer=issuer)
            raise ProviderUnavailable("the provider tells that it is another one")
        return document

    async def _checked(self, profile: OpenIdProfile, token: str, nonce: str) -> Mapping[str, Any]:
        """
        Return the claims of a token that was signed by its provider, for us, for this attempt, just now.
        """
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in profile.algorithms:
                raise IdentityRefused("the proof of identity is signed in a way that does not count")
            key = await self._key(profile.keys_url, header.get("kid"))
            claims = jwt.decode(
                token,
                key.public,
                algorithms=list(profile.algorithms),
                audience=profile.client_id,
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat", *profile.subject_claims],
                    # Judged below, by our own clock.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_iss": False,
                },
            )
        except jwt.PyJWTError as error:
            raise IdentityRefused(f"the proof of identity does not hold ({type(error).__name__})") from None
        _check_issuer(profile, claims)
        key.check_issuer(claims)
        _check_audience(profile, claims)
        self._check_times(claims)
        _check_nonce(profile, claims, nonce)
        return claims

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now_ms() / 1000
        times = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
        if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in times):
            raise IdentityRefused("the proof of identity has no times that can be read")
        expires_at, issued_at, not_before = times
        if expires_at <= now - _LEEWAY_S or issued_at < now - _LONGEST_AGE_S - _LEEWAY_S:
            raise IdentityRefused("the proof of identity is too old")
        if issued_at > now + _LEEWAY_S or not_before > now + _LEEWAY_S:
            raise IdentityRefused("the proof of identity is of the future")

    # Keys

    async def _key(self, url: str, kid: object) -> "_Key":
        """
        Return the provider's key of that id; one that is not known yet has them all fetched anew.
        """
        lock = self._fetching.setdefault(url, asyncio.Lock())
        async with lock:
            known = self._keys.get(url)
            age = None if known is None else self._clock.monotonic() - known.fetched_at
            found = None if known is None else known.get(kid)
            if age is None or age > _KEYS_LIVE_S or (found is None and age > _KEYS_AGAIN_S):
                known = self._keys[url] = _Keys(await self._json("GET", url), self._clock.monotonic())
                found = known.get(kid)
        if found is None:
            raise IdentityRefused(
                "the proof of identity is signed with a key that the provider does not have"
            )
        return found

    async def _json(self, method: str, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.request(
                    method, url, data=form, headers={"Accept": "application/json"}, allow_redirects=False
                ) as response,
            ):
                body = bytearray()
                while len(body) <= _MOST_BYTES and (more := await response.content.read(_MOST_BYTES)):
                    body += more
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Without its cause: a library's error may quote the request.
            raise ProviderUnavailable(f"the provider does not answer ({type(error).__name__})") from None
        if status >= 500 or status in (408, 429):
            raise ProviderUnavailable(f"the provider does not answer now ({status})")
        try:
            fields = msgspec.json.decode(body) if len(body) <= _MOST_BYTES else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = None
        if status == 200 and isinstance(fields, dict):
            return fields
        told = fields.get("error") if isinstance(fields, dict) else None
        if form is None or told in _OURS:
            log.error("sign_in.misconfigured", status=status, error=told if told in _OURS else None)
            raise ProviderUnavailable("signing in there does not work right now")
        log.warning("sign_in.provider_refused", status=status)
        raise IdentityRefused(f"the provider does not accept this sign-in ({status})")


@dataclass(frozen=True, slots=True)
class _Key:
    """
    A key, and whose tokens it may sign if its provider says so: Microsoft does, as ``{tenantid}`` where it is any tenant's.
    """

    public: jwt.PyJWK
    issuer: object = None

    def check_issuer(self, claims: Mapping[str, Any]) -> None:
        """
        Make sure that the claims are of an issuer that this key signs for.

        Raises:
            IdentityRefused: they are not.
        """
        if self.issuer is None:
            return
        if str(self.issuer).replace("{tenantid}", str(claims.get("tid"))) != claims["iss"]:
            raise IdentityRefused("the proof of identity is signed with a key of another organisation")


class _Keys:
    """
    A provider's keys, by their ids.
    """

    def __init__(self, document: Mapping[str, Any], fetched_at: float) -> None:
        self.fetched_at = fetched_at
        self._keys: dict[str, _Key] = {}
        listed = document.get("keys")
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and entry.get("kty") != "oct":
                try:
                    self._keys[str(entry.get("kid"))] = _Key(jwt.PyJWK(entry), entry.get("issuer"))
                except (jwt.PyJWTError, TypeError, ValueError):
                    # Of a kind that we do not know; one that we know signs for us.
                    continue

    def get(self, kid: object) -> _Key | None:
        """
        Return the key of that id, or the only one there is where the token names none.
        """
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid) if isinstance(kid, str) else None


def answered_code(profile: OpenIdProfile, *, code: str | None, error: str | None, issuer: str | None) -> str:
    """
    Return the code that a provider's answer brings, *issuer* being what it says of itself (RFC 9207).

    Raises:
        IdentityRefused: it is another provider's answer, or it says no.
    """
    if profile.names_issuer if issuer is None else not is_issuer(profile, issuer):
        raise IdentityRefused("the answer is another provider's")
    if error is not None or not code or len(code) > _LONGEST_CODE:
        raise IdentityRefused("signing in was not allowed, or was broken off")
    return code


def is_issuer(profile: OpenIdProfile, told: str) -> bool:
    """
    Tell whether *told* names this provider, or any tenant of it.
    """
    patterns = (re.escape(issuer).replace(re.escape("{tid}"), _TENANT) for issuer in profile.issuers)
    return any(re.fullmatch(pattern, told, re.ASCII) for pattern in patterns)


def _check_issuer(profile: OpenIdProfile, claims: Mapping[str, Any]) -> None:
    tenant = claims.get("tid")
    for issuer in profile.issuers:
        if "{tid}" not in issuer:
            if claims["iss"] == issuer:
                return
        elif (
            isinstance(tenant, str)
            and re.fullmatch(_TENANT, tenant, re.ASCII)
            and claims["iss"] == issuer.replace("{tid}", tenant)
        ):
            if profile.tenants is not None and tenant not in profile.tenants:
                raise IdentityRefused("accounts of this organisation are not let in here")
            return
    raise IdentityRefused("the proof of identity is another provider's")


def _check_nonce(profile: OpenIdProfile, claims: Mapping[str, Any], nonce: str) -> None:
    told = claims.get("nonce")
    if told is None and not profile.repeats_nonce:
        return
    if not isinstance(told, str) or not _is_same(told, nonce):
        raise IdentityRefused("the proof of identity was made for another attempt")


def _check_audience(profile: OpenIdProfile, claims: Mapping[str, Any]) -> None:
    audience = claims["aud"]
    several = isinstance(audience, list) and len(audience) > 1
    party = claims.get("azp")
    if (several and party is None) or (party is not None and party != profile.client_id):
        raise IdentityRefused("the proof of identity was made for somebody else")


def _check_at_hash(access_token: str, told: str) -> None:
    """
    Make sure that the access token belongs to the ID token (OpenID Connect Core §3.1.3.6, for algorithms of 256 bits).
    """
    half = hashlib.sha256(access_token.encode("ascii", "replace")).digest()[:16]
    if not _is_same(base64.urlsafe_b64encode(half).decode().rstrip("="), told.rstrip("=")):
        raise IdentityRefused("the proof of identity belongs to another answer")


def _is_same(one: str, other: str) -> bool:
    # As bytes: of text it compares ASCII alone.
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def person_of(profile: OpenIdProfile, claims: Mapping[str, Any]) -> Person:
    """
    Return whom claims that were checked are about.

    Raises:
        IdentityRefused: they name nobody.
    """
    parts = [claims.get(name) for name in profile.subject_claims]
    if not all(isinstance(part, str) and part for part in parts):
        raise IdentityRefused("the proof of identity names nobody")
    labels = [claims[name] for name in profile.label_claims if isinstance(claims.get(name), str)]
    return Person(subject=" ".join(map(str, parts)), label=labels[0] if labels else "")
