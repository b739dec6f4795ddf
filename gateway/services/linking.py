"""
Linking accounts: the way through a provider's consent, or the keys of a place of the user's own.
"""

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import structlog

from gateway.api import OAuthProfile, Transient
from gateway.base.clock import Clock
from gateway.base.ids import UserId
from gateway.catalog import links as catalog
from gateway.catalog.jobs import enqueue_job, find_job
from gateway.catalog.links import Attempt, LinkRow
from gateway.catalog.users import User, get_user, lock_active_user
from gateway.crypto.errors import CryptoError
from gateway.database import Database
from gateway.keyring.errors import SlotShredded
from gateway.services.accounts import refuse_leaving
from gateway.services.errors import (
    InvalidField,
    LinkAttemptGone,
    NotFound,
    OtherAccount,
    PlaceRefused,
    ScopesMissing,
    TooManyLinks,
)
from gateway.services.link_grants import grant_of
from gateway.services.link_kinds import LinkKind, LinkKinds
from gateway.services.link_notes import LinkNotes
from gateway.services.link_secrets import AttemptSecrets, LinkSecrets, LinkVault
from gateway.services.link_tokens import HeldTokens, TokenKeeping
from gateway.services.link_trials import Finding, LinkTrials, denial
from gateway.services.linked_places import LinkedPlaces
from gateway.services.oauth import Proof, authorization_url
from gateway.services.returns import check_return
from gateway.settings import Links as Limits

log = structlog.get_logger()

_MOST_ATTEMPTS: Final = 20
"""Unanswered attempts of one user; the oldest is forgotten then."""
_LONGEST_CODE: Final = 8192

END_GRANT: Final = "end-grant"
"""The job that tells a provider of a link that has ended."""
_MOST_TRIES: Final = 5
"""Of that job, within a minute or so; nothing is kept of the link after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """
    Where the user goes to allow it, and until when his answer is waited for.
    """

    authorize_url: str
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """
    An account that was linked just now.
    """

    link: LinkRow
    secrets: LinkSecrets
    is_new: bool
    return_to: str | None = None


class LinkingService:
    """
    Links accounts, links them anew, and ends links.
    """

    def __init__(
        self,
        catalog_db: Database,
        vault: LinkVault,
        kinds: LinkKinds,
        trials: LinkTrials,
        keeping: TokenKeeping,
        places: LinkedPlaces,
        notes: LinkNotes,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.kinds = kinds
        self._catalog = catalog_db
        self._vault = vault
        self._trials = trials
        self._keeping = keeping
        self._places = places
        self._notes = notes
        self._clock = clock
        self._limits = limits

    async def begin(
        self,
        user: User,
        kind_name: str,
        *,
        redirect_uri: str,
        settings: Mapping[str, Any] | None = None,
        relink: str | None = None,
        return_to: str | None = None,
    ) -> Consent | Linked:
        """
        Begin to link an account of that kind, or link it at once where its settings are all that is needed.

        *relink* is the id of the user's link that is linked anew.

        Raises:
            Leaving: the user is about to be erased.
            NotFound: there is no such kind here, or no such link.
            InvalidField: a setting, or where to go afterwards, cannot be taken.
            TooManyLinks: he has as many as he may have.
            PlaceRefused: the place cannot be used as it is.
            ProviderUnavailable: it does not answer now.
        """
        refuse_leaving(user)
        kind = self.kinds.get(kind_name)
        if kind is None:
            raise NotFound("there is no such kind of storage to be linked here")
        if return_to is not None:
            check_return(return_to, self._limits.return_to)
        before = None if relink is None else await self._live_link(user.id, relink)
        if before is not None and before.kind != kind.name:
            raise InvalidField("relink", f"is no link to {kind.title}")
        if before is None:
            async with self._catalog.read() as connection:
                self._check_count(await catalog.links_of(connection, user.id))
        if kind.profile is None:
            return await self._link_by_settings(user, kind, settings or {}, before)
        if settings:
            raise InvalidField("settings", f"{kind.title} is linked by its owner's consent alone")
        return await self._ask_consent(user, kind, kind.profile, before, redirect_uri, return_to)

    async def finish(self, *, state: str, code: str | None, error: str | None) -> Linked:
        """
        Take what the provider sent the user's browser back with, and link the account.

        Raises:
            LinkAttemptGone: nobody asked for this answer, or it came too late, or twice.
            Leaving: the user is about to be erased.
            ConsentDenied: he did not allow it.
            ScopesMissing: he did not allow all that is needed.
            OtherAccount: another account was to be linked anew.
            TooManyLinks: he has as many as he may have.
            PlaceRefused: the account cannot be used as it is.
            ProviderUnavailable: it does not answer now.
        """
        async with self._catalog.write() as connection:
            attempt = await catalog.take_attempt(connection, _state_hash(state))
            user = None if attempt is None else await get_user(connection, attempt.user_id)
        if (
            attempt is None
            or user is None
            or not user.is_active
            or attempt.expires_at <= self._clock.now_ms()
        ):
            raise LinkAttemptGone("this answer was used before, came too late, or was never asked for")
        refuse_leaving(user)
        kind = self.kinds.get(attempt.kind)
        if kind is None or kind.profile is None:
            raise LinkAttemptGone("this kind of storage is not linked here any more")
        asked = await self._vault.open_attempt(attempt)
        if error is not None:
            raise denial(kind, error)
        if not code or len(code) > _LONGEST_CODE:
            raise PlaceRefused(f"{kind.title} sent no code")
        answer = await self._trials.exchanged(kind, kind.profile, asked, code)
        granted = answer.grant.scopes
        missing = frozenset() if granted is None else kind.profile.needed_scopes - granted
        if missing:
            raise ScopesMissing(missing)
        identity = await self._trials.identity(kind, kind.profile, answer.grant.access_token)
        fresh = LinkSecrets(
            subject=identity.subject,
            label=identity.label,
            scopes=asked.scopes,
            has_wider_scopes=asked.has_wider_scopes,
        )
        fresh = self._keeping.received(fresh, answer)
        tokens = HeldTokens(answer.grant.access_token)
        finding = await self._trials.probed(kind, {}, tokens, keeps_faulty=True)
        ends_at = self._keeping.grant_ends_at(answer)
        linked = await self._placed(user, kind, attempt.link_id, fresh, finding, ends_at)
        return replace(linked, return_to=asked.return_to)

    async def end(self, user_id: UserId, link_id: str) -> None:
        """
        End the user's link: nothing is reached through it any more. Ended before, it stays ended.

        The provider is told as well, where it wants to be; only then is nothing kept that opens the account. If it does
        not answer, or this process dies, a job tells it, a few times; then it is left at that.

        Raises:
            NotFound: there is no such link, or it is another user's.
        """
        link = await self.get(user_id, link_id)
        grant = await grant_of(link, self.kinds, self._vault)
        async with self._catalog.write() as connection:
            is_ended = await catalog.end_link(
                connection, link_id, at=self._clock.now_ms(), keeps_secrets=grant is not None
            )
            if is_ended and grant is not None:
                await enqueue_job(connection, END_GRANT, link_id)
        self._places.forget(link_id)
        if not is_ended:
            return
        log.info("link.ended", link=link_id, kind=link.kind)
        if grant is not None and await grant.revoke(self._trials.http):
            await self._drop_secrets(link_id)

    async def end_grant(self, link_id: str) -> None:
        """
        Tell the provider of a link that has ended that it is over, and keep nothing of it.

        Raises:
            Transient: it does not answer, and is told again.
        """
        async with self._catalog.read() as connection:
            link = await catalog.get_link(connection, link_id)
            job = await find_job(connection, END_GRANT, link_id)
        if link is None or link.is_live:
            return
        try:
            grant = await grant_of(link, self.kinds, self._vault)
        except (SlotShredded, CryptoError) as exc:
            log.warning("link.not_revoked", link=link.id, kind=link.kind, error=type(exc).__name__)
            grant = None
        is_last_try = job is None or job.attempts >= _MOST_TRIES
        if grant is not None and not await grant.revoke(self._trials.http) and not is_last_try:
            raise Transient("The provider was not told yet that the link has ended.")
        await self._drop_secrets(link_id)

    async def get(self, user_id: UserId, link_id: str) -> LinkRow:
        """
        Return the user's link, ended or not.

        Raises:
            NotFound: there is no such link, or it is another user's.
        """
        async with self._catalog.read() as connection:
            link = await catalog.get_link(connection, link_id)
        if link is None or link.user_id != user_id:
            raise NotFound("there is no such link")
        return link

    async def _drop_secrets(self, link_id: str) -> None:
        async with self._catalog.write() as connection:
            await catalog.drop_secrets(connection, link_id)

    # Consent

    async def _ask_consent(
        self,
        user: User,
        kind: LinkKind,
        profile: OAuthProfile,
        before: LinkRow | None,
        redirect_uri: str,
        return_to: str | None,
    ) -> Consent:
        wider = await self._wider_scopes(profile, before)
        scopes = wider or profile.scopes
        state, proof = secrets.token_urlsafe(32), Proof.new()
        kept = AttemptSecrets(
            verifier=proof.verifier,
            redirect_uri=redirect_uri,
            scopes=scopes,
            has_wider_scopes=wider is not None,
            return_to=return_to,
        )
        expires_at = self._clock.now_ms() + self._limits.attempt_lifetime_s * 1000
        attempt = Attempt(
            state_hash=_state_hash(state),
            user_id=user.id,
            kind=kind.name,
            link_id=None if before is None else before.id,
            secrets=await self._vault.seal_attempt(user, _state_hash(state), kept),
            expires_at=expires_at,
        )
        async with self._catalog.write() as connection:
            if not await lock_active_user(connection, user.id):
                raise NotFound("there is no such user")
            await catalog.insert_attempt(connection, attempt, most=_MOST_ATTEMPTS)
        url = authorization_url(profile, state=state, proof=proof, redirect_uri=redirect_uri, scopes=scopes)
        return Consent(authorize_url=url, expires_at=expires_at)

    async def _wider_scopes(self, profile: OAuthProfile, before: LinkRow | None) -> tuple[str, ...] | None:
        """
        Return what to ask for instead of the usual, where that has turned out to be too little.
        """
        if profile.wider_scopes is None or before is None:
            return None
        if before.state == catalog.SCOPE_MISSING or (await self._vault.open_link(before)).has_wider_scopes:
            return profile.wider_scopes
        return None

    # Settings

    async def _link_by_settings(
        self, user: User, kind: LinkKind, given: Mapping[str, Any], before: LinkRow | None
    ) -> Linked:
        settings = dict(given)
        if before is not None:
            # What he does not name stays as it was; so new keys are all that he has to give.
            settings = {**(await self._vault.open_link(before)).settings, **settings}
        kind.check_settings(settings)
        finding = await self._trials.probed(kind, settings, None, holds=before)
        shown = kind.shown_settings(settings)
        required = [name for name in kind.settings_schema()["required"] if name in shown]
        fresh = LinkSecrets(
            subject=hashlib.sha256(msgspec.json.encode(shown, order="deterministic")).hexdigest(),
            label=str(shown[required[0]]) if required else kind.title,
            settings=settings,
        )
        wanted_id = None if before is None else before.id
        return await self._placed(user, kind, wanted_id, fresh, finding, None)

    # Rows

    async def _placed(
        self,
        user: User,
        kind: LinkKind,
        wanted_id: str | None,
        fresh: LinkSecrets,
        finding: Finding,
        grant_ends_at: int | None,
    ) -> Linked:
        """
        Write the link down: over the one that is the same account, else as a new one.
        """
        while True:
            async with self._catalog.read() as connection:
                links = await catalog.links_of(connection, user.id)
            before = await self._same_account(links, kind, wanted_id, fresh)
            link_id = str(uuid.uuid4()) if before is None else before.id
            sealed = await self._vault.seal_link(user.id, link_id, fresh)
            now = self._clock.now_ms()
            refreshed_at = now if fresh.refresh_token is not None else None
            async with self._catalog.write() as connection:
                if not await lock_active_user(connection, user.id):
                    raise NotFound("there is no such user")
                if _footing(await catalog.links_of(connection, user.id)) != _footing(links):
                    continue
                if before is None:
                    self._check_count(links)
                    link = LinkRow(
                        id=link_id,
                        user_id=user.id,
                        kind=kind.name,
                        state=finding.state,
                        reason=finding.reason,
                        secrets=sealed,
                        revision=1,
                        generation=1,
                        created_at=now,
                        refreshed_at=refreshed_at,
                        grant_ends_at=grant_ends_at,
                        checked_at=now,
                        ended_at=None,
                    )
                    await catalog.insert_link(connection, link)
                else:
                    await catalog.relink(
                        connection,
                        link_id,
                        sealed,
                        state=finding.state,
                        reason=finding.reason,
                        refreshed_at=refreshed_at,
                        grant_ends_at=grant_ends_at,
                        at=now,
                    )
            break
        if before is not None:
            self._places.forget(link_id)
        log.info("link.made", link=link_id, kind=kind.name, anew=before is not None, state=finding.state)
        if before is not None and finding.state == catalog.OK:
            await self._notes.relinked(link_id)
        return Linked(link=await self.get(user.id, link_id), secrets=fresh, is_new=before is None)

    async def _same_account(
        self, links: list[LinkRow], kind: LinkKind, wanted_id: str | None, fresh: LinkSecrets
    ) -> LinkRow | None:
        """
        Return the link that this is to be, None if it is a new one.
        """
        for link in links:
            if link.kind != kind.name or wanted_id not in (None, link.id):
                continue
            kept = await self._vault.open_link(link)
            if kept.subject == fresh.subject or (wanted_id is not None and kind.profile is None):
                return link
            if wanted_id is not None:
                raise OtherAccount(f"this is another account of {kind.title} than the one that was linked")
        if wanted_id is not None:
            raise NotFound("there is no such link any more")
        return None

    async def _live_link(self, user_id: UserId, link_id: str) -> LinkRow:
        link = await self.get(user_id, link_id)
        if not link.is_live:
            raise NotFound("there is no such link any more")
        return link

    def _check_count(self, links: list[LinkRow]) -> None:
        if len(links) >= self._limits.max_per_user:
            raise TooManyLinks(f"there are {len(links)} links already; unlink one first")


def _footing(links: list[LinkRow]) -> set[tuple[str, int]]:
    return {(link.id, link.generation) for link in links}


def _state_hash(state: str) -> bytes:
    """
    Return what is kept of OAuth's state; 256 random bits need no slow hash.
    """
    return hashlib.sha256(state.encode("utf-8", "replace")).digest()
