"""
Signing operators in at their organisation's OpenID provider, and their sessions.

They are no users: another table, another cookie, another provider. What roles somebody has follows, at each request, from the
settings of now and from what his provider said when he signed in.
"""

import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from gateway.api import OpenIdProfile
from gateway.base.clock import Clock
from gateway.base.errors import ConfigurationError
from gateway.base.secret import Secret
from gateway.catalog import operators as catalog
from gateway.catalog.operators import Operator, OperatorSession
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.operator_settings import Operators as Settings
from gateway.services.accounts import token_hash
from gateway.services.audit import AuditLog
from gateway.services.consents import SignInConsent, browser_hash, check_browser
from gateway.services.errors import IdentityRefused, NoRole, NotFound, ProviderUnavailable
from gateway.services.look_ups import LookUps
from gateway.services.oauth import Proof
from gateway.services.openid import OpenIdClient, answered_code, authorization_url, person_of
from gateway.services.operator_roles import Standing, roles_of
from gateway.services.roles import Actor, Permission, Role, role_that_may
from gateway.services.sign_in_attempts import Attempts, Kept

log = structlog.get_logger()

SESSION_PREFIX: Final = "rgo_"
"""Lets scanners for leaked secrets know one."""
_ATTEMPT: Final = "operator"
_SPACE: Final = "operator"
_OPERATOR_LABEL: Final = b"OPER\x01"
_SESSION_LABEL: Final = b"OPSE\x01"
_ACTOR: Final = "operator:"
_NOBODY: Final = Actor(f"{_ACTOR}not-known", "none")
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Asked(Kept, frozen=True, kw_only=True, omit_defaults=True):
    """
    What is remembered of somebody who went to sign in.
    """

    verifier: str
    nonce: str
    redirect_uri: str
    browser_hash: str


class _Called(msgspec.Struct, frozen=True, kw_only=True):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedInOperator:
    """
    An operator at a request of his: who he is, and what he is now.
    """

    id: str
    name: str
    roles: frozenset[Role]
    token: Secret
    expires_at: int

    def may(self, permission: Permission) -> bool:
        return role_that_may(self.roles, permission) is not None

    def acting(self, permission: Permission) -> Actor:
        """
        Return what the audit log calls him where he makes use of *permission*, or is refused.
        """
        return Actor(
            f"{_ACTOR}{self.id}", role_that_may(self.roles, permission) or "+".join(sorted(self.roles))
        )


class OperatorSignIn:
    """
    Sends operators to their provider and takes them back; knows their sessions.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        audit: AuditLog,
        openid: OpenIdClient,
        look_ups: LookUps,
        clock: Clock,
        settings: Settings,
        *,
        is_production: bool,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._audit = audit
        self._openid = openid
        self._look_ups = look_ups
        self._clock = clock
        self._settings = settings
        self._attempts = Attempts(catalog_db, clock, lifetime_s=settings.attempt_lifetime_s)
        self._secret = _client_secret(settings) if settings.issuer else None
        self._profile: OpenIdProfile | None = None
        if settings.issuer:
            _check(settings, is_production=is_production)

    @property
    def is_on(self) -> bool:
        """
        Whether there is a provider, and so pages for operators.
        """
        return bool(self._settings.issuer)

    @property
    def attempt_lifetime_s(self) -> int:
        return self._settings.attempt_lifetime_s

    async def begin(self, *, redirect_uri: str, browser: str) -> SignInConsent:
        """
        Begin for the browser that has *browser* in a cookie.

        Raises:
            NotFound: there are no pages for operators here.
            ProviderUnavailable: the provider does not tell now where to go.
        """
        profile = await self._known_profile()
        proof, nonce = Proof.new(), secrets.token_urlsafe(32)
        asked = Asked(
            verifier=proof.verifier,
            nonce=nonce,
            redirect_uri=redirect_uri,
            browser_hash=browser_hash(browser),
        )
        state, expires_at = await self._attempts.begin(_ATTEMPT, asked)
        url = authorization_url(profile, state=state, nonce=nonce, proof=proof, redirect_uri=redirect_uri)
        return SignInConsent(authorize_url=url, expires_at=expires_at)

    async def asked(self, state: str, browser: str | None) -> Asked:
        """
        Take an attempt up that this browser began: it counts once.

        Raises:
            SignInGone: nobody asked for this answer, in this browser; or it came too late, or twice.
        """
        asked = await self._attempts.take(_ATTEMPT, state, Asked)
        check_browser(browser, asked.browser_hash)
        return asked

    async def finish(
        self,
        asked: Asked,
        *,
        code: str | None,
        error: str | None,
        issuer: str | None,
        on_refused: Callable[[], Awaitable[None]],
    ) -> tuple[Secret, int]:
        """
        Sign somebody in; return his session's token, and until when it counts (Unix ms).

        *on_refused* is awaited before a refusal is written down; what it raises is told instead, and nothing is written.

        Raises:
            IdentityRefused: the provider's answer does not hold.
            NoRole: it does, and he is nobody here.
            ProviderUnavailable: the provider does not answer now.
        """
        profile = await self._known_profile()
        try:
            told = await self._openid.claims(
                profile,
                code=answered_code(profile, code=code, error=error, issuer=issuer),
                verifier=asked.verifier,
                redirect_uri=asked.redirect_uri,
                nonce=asked.nonce,
            )
            person = person_of(profile, told)
        except IdentityRefused:
            await on_refused()
            await self._audit.note(_NOBODY, "sign-in.refused", facts={"why": "not-proved"})
            raise
        standing = Standing.from_claims(told, self._settings.roles_claim)
        roles = roles_of(standing, self._settings)
        if not roles:
            await on_refused()
            await self._audit.note(_NOBODY, "sign-in.refused", facts={"why": "no-role"})
            raise NoRole("you have no role here; whoever runs this service gives them")
        return await self._new_session(f"{told['iss']} {person.subject}", standing, roles)

    async def session(self, token: str) -> SignedInOperator | None:
        """
        Return whose session this is, None if it is none or has ended; with no role left it ends here.
        """
        if not self.is_on or not token.startswith(SESSION_PREFIX):
            return None
        hashed = token_hash(token)
        async with self._catalog.read() as connection:
            found = await catalog.get_session(connection, hashed, at=self._clock.now_ms())
        if found is None:
            return None
        try:
            opened = open_record(await self._key(), found.sealed, _SESSION_LABEL + hashed)
        except CryptoError:
            log.error("operator.session_unreadable", operator=found.operator_id)
            return None
        standing = msgspec.json.decode(opened, type=Standing)
        roles = roles_of(standing, self._settings)
        if not roles:
            await self._end(hashed, Actor(f"{_ACTOR}{found.operator_id}", "none"), "no-role")
            return None
        return SignedInOperator(
            id=found.operator_id,
            name=standing.name,
            roles=roles,
            token=Secret(token.encode()),
            expires_at=found.expires_at,
        )

    async def end(self, operator: SignedInOperator) -> None:
        """
        Sign an operator out.
        """
        actor = Actor(f"{_ACTOR}{operator.id}", "+".join(sorted(operator.roles)))
        await self._end(token_hash(operator.token.reveal().decode()), actor, "signed-out")

    async def names(self, actors: Collection[str]) -> dict[str, str]:
        """
        Return what those are called whom the audit log calls *actors*; who is not known here is absent.
        """
        ids = {actor.removeprefix(_ACTOR) for actor in actors if actor.startswith(_ACTOR)}
        async with self._catalog.read() as connection:
            sealed = await catalog.sealed_names(connection, ids)
        key = await self._key()
        names = {}
        for operator_id, record in sealed.items():
            data = _OPERATOR_LABEL + uuid.UUID(operator_id).bytes
            try:
                called = msgspec.json.decode(open_record(key, record, data), type=_Called)
                names[_ACTOR + operator_id] = called.name
            except CryptoError:
                log.error("operator.unreadable", operator=operator_id)
        return names

    async def _new_session(
        self, subject: str, standing: Standing, roles: frozenset[Role]
    ) -> tuple[Secret, int]:
        key, keys = await self._key(), await self._look_ups.keys()
        now = self._clock.now_ms()
        new_id = str(uuid.uuid4())
        operator = Operator(
            id=new_id,
            look_up=keys.current(_SPACE, subject),
            generation=keys.generation,
            sealed=seal_record(
                key,
                msgspec.json.encode(_Called(name=standing.name)),
                _OPERATOR_LABEL + uuid.UUID(new_id).bytes,
            ),
            at=now,
        )
        token = SESSION_PREFIX + secrets.token_urlsafe(32)
        hashed = token_hash(token)
        expires_at = now + self._settings.session_lifetime_s * 1000
        sealed = seal_record(key, msgspec.json.encode(standing), _SESSION_LABEL + hashed)
        async with self._catalog.write() as connection:
            operator_id = await catalog.enter_operator(connection, operator, keys.all(_SPACE, subject))
        entry = await self._audit.draft(Actor(f"{_ACTOR}{operator_id}", "+".join(sorted(roles))), "sign-in")
        session = OperatorSession(
            token_hash=hashed, operator_id=operator_id, sealed=sealed, created_at=now, expires_at=expires_at
        )
        async with self._catalog.write() as connection:
            await catalog.insert_session(connection, session)
            await self._audit.append(connection, entry)
        log.info("operator.signed_in", operator=operator_id, roles=sorted(roles))
        return Secret(token.encode()), expires_at

    async def _end(self, hashed: bytes, actor: Actor, why: str) -> None:
        entry = await self._audit.draft(actor, "session.ended", facts={"why": why})
        async with self._catalog.write() as connection:
            if await catalog.delete_session(connection, hashed):
                await self._audit.append(connection, entry)

    async def _known_profile(self) -> OpenIdProfile:
        """
        Return the facts about the provider, which it is asked for once.
        """
        settings = self._settings
        if not settings.issuer:
            raise NotFound("there are no pages for operators here")
        if self._profile is None:
            told = await self._openid.discovered(settings.issuer)
            addresses = [told.get(name) for name in _ENDPOINTS]
            scheme = settings.issuer.partition(":")[0]
            if not all(isinstance(one, str) and one.startswith(f"{scheme}://") for one in addresses):
                log.error("operators.provider_incomplete", issuer=settings.issuer)
                raise ProviderUnavailable("the provider does not tell where to sign in")
            authorize_url, token_url, keys_url = map(str, addresses)
            self._profile = OpenIdProfile(
                client_id=settings.client_id,
                client_secret=self._secret,
                authorize_url=authorize_url,
                token_url=token_url,
                keys_url=keys_url,
                issuers=(settings.issuer,),
                algorithms=tuple(settings.algorithms),
                scopes=tuple(settings.scopes),
                label_claims=("email",),
                names_issuer=told.get("authorization_response_iss_parameter_supported") is True,
            )
        return self._profile

    async def _key(self) -> Secret:
        return subkey(await self._keyring.service_key("operators"), "operators")


def _client_secret(settings: Settings) -> str | None:
    if settings.client_secret and settings.client_secret_file:
        raise ConfigurationError("settings operators.client_secret and client_secret_file: keep one of them")
    if not settings.client_secret_file:
        return settings.client_secret or None
    try:
        secret = Path(settings.client_secret_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        raise ConfigurationError(
            f"setting operators.client_secret_file: {settings.client_secret_file}: {reason}"
        ) from None
    if not secret:
        raise ConfigurationError("setting operators.client_secret_file: the file is empty")
    return secret


def _check(settings: Settings, *, is_production: bool) -> None:
    if not settings.client_id:
        raise ConfigurationError("setting operators.client_id: is missing; the provider gave you one")
    schemes = ("https://",) if is_production else ("https://", "http://")
    if not settings.issuer.startswith(schemes):
        raise ConfigurationError("setting operators.issuer: is no https:// address")
    if "openid" not in settings.scopes:
        raise ConfigurationError("setting operators.scopes: openid must be among them")
    if any(not name.startswith(("RS", "ES", "PS")) for name in settings.algorithms):
        raise ConfigurationError(
            "setting operators.algorithms: only signatures count, such as RS256 or ES256"
        )
