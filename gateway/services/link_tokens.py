"""
Access tokens of linked accounts: kept sealed, refreshed by one at a time, stored before they are used.

A provider may end a refresh token with its first use. So a refresh is never done twice at once: within a process all
who wait share one task, and among nodes a claim in the link's row keeps the others off, in the database's time.
And what came of it is stored before anybody is given the new access token.

A node that dies between the provider's answer and the store leaves the old refresh token in the row.
When its claim has run out another node tries that: it works with providers that let the old one live, and with those that
don't the link shows as revoked, and its owner links the account anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

import msgspec
import structlog

from gateway.api import AuthRevoked, OAuthProfile, TokenRequest, TokenSource, Transient
from gateway.base.clock import Clock
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.database import Database, DatabaseUnavailable
from gateway.services.link_secrets import LinkSecrets, LinkVault
from gateway.services.oauth import TokenAnswer, TokenEndpoint
from gateway.settings import Links as Limits

log = structlog.get_logger()

_POLL_S: Final = 0.1
_LONGEST_MARGIN: Final = 4
"""The margin takes at most this part of a token's life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKeeping:
    """
    What all token sources share.
    """

    catalog: Database
    vault: LinkVault
    endpoint: TokenEndpoint
    clock: Clock
    limits: Limits
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    @property
    def claim_s(self) -> int:
        """
        How long a claim lasts: longer than asking can take, so that only a dead node lets one run out.
        """
        return 2 * self.limits.token_timeout_s

    def received(self, before: LinkSecrets, answer: TokenAnswer) -> LinkSecrets:
        """
        Return *before* with the tokens of *answer*; a refresh token that was not replaced stays.
        """
        now = self.clock.now_ms()
        grant = answer.grant
        fresh_until = None
        if grant.expires_in_s is not None:
            margin_s = min(self.limits.refresh_margin_s, grant.expires_in_s // _LONGEST_MARGIN)
            fresh_until = now + (grant.expires_in_s - margin_s) * 1000
        return msgspec.structs.replace(
            before,
            access_token=grant.access_token,
            fresh_until=fresh_until,
            refresh_token=grant.refresh_token or before.refresh_token,
        )

    def grant_ends_at(self, answer: TokenAnswer) -> int | None:
        """
        Return when the grant itself ends, if the provider said so.
        """
        lasts_s = answer.grant_lasts_s
        return None if lasts_s is None else self.clock.now_ms() + lasts_s * 1000


class LinkTokens:
    """
    The `gateway.api.TokenSource` of one link in this process.
    """

    def __init__(
        self, keeping: TokenKeeping, link: LinkRow, secrets: LinkSecrets, profile: OAuthProfile
    ) -> None:
        self._keeping = keeping
        self._link_id = link.id
        self._generation = link.generation
        self._revision = link.revision
        self._secrets = secrets
        self._profile = profile
        self._refreshing: asyncio.Task[str] | None = None

    async def access_token(self, *, stale: str | None = None) -> str:
        """
        Return an access token that is valid as far as is known; never *stale*.

        Raises:
            AuthRevoked: the grant is gone.
            Transient: the provider's token server does not answer.
        """
        return self._fresh(stale) or await self.refreshed(stale=stale)

    async def refreshed(self, *, stale: str | None = None) -> str:
        """
        Bring a new access token, or wait for the one that is being brought.

        A waiter that is cancelled leaves the others theirs.
        """
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(stale or self._secrets.access_token))
            self._refreshing.add_done_callback(_look_at)
        return await asyncio.shield(self._refreshing)

    async def settle(self, *, patience_s: float) -> None:
        """
        Give a refresh that is under way so long to be stored, then end it.
        """
        task = self._refreshing
        if task is not None and not task.done():
            await asyncio.wait([task], timeout=patience_s)
            task.cancel()

    def _fresh(self, stale: str | None) -> str | None:
        token, until = self._secrets.access_token, self._secrets.fresh_until
        is_fresh = until is None or self._keeping.clock.now_ms() < until
        return token if token is not None and token != stale and is_fresh else None

    async def _refresh(self, stale: str | None) -> str:
        try:
            return await self._refresh_in_turn(stale)
        except DatabaseUnavailable as exc:
            raise Transient("The catalog does not answer, so no token can be kept.") from exc

    async def _refresh_in_turn(self, stale: str | None) -> str:
        keeping = self._keeping
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 2 * keeping.claim_s
        while loop.time() < deadline:
            link = await self._current_row()
            if link.revision != self._revision:
                self._secrets, self._revision = await keeping.vault.open_link(link), link.revision
                if token := self._fresh(stale):
                    return token
            if self._secrets.refresh_token is None:
                raise await self._revoked("The provider gave no lasting grant, and the token has run out.")
            async with keeping.catalog.write() as connection:
                claim = await catalog.claim_refresh(
                    connection, self._link_id, revision=self._revision, lease_ms=keeping.claim_s * 1000
                )
            if claim is None:
                # Another node is at it; what it gets will be in the row.
                await keeping.sleep(_POLL_S)
            elif token := await self._ask(claim, self._secrets.refresh_token):
                return token
        raise Transient("Another node has been refreshing the grant of this account for too long.")

    async def _ask(self, claim: int, refresh_token: str) -> str | None:
        """
        Ask the provider and store what it gave; None if others have changed the link meanwhile.
        """
        keeping = self._keeping
        request = TokenRequest(scopes=self._secrets.scopes, refresh_token=refresh_token)
        try:
            answer = await keeping.endpoint.ask(self._profile, request)
        except AuthRevoked as exc:
            if (await self._current_row()).revision != self._revision:
                # A node that was slow, not dead, has used this refresh token up.
                return None
            raise await self._revoked(str(exc), code=exc.provider_code) from None
        except BaseException:
            await asyncio.shield(self._release(claim))
            raise
        secrets = keeping.received(self._secrets, answer)
        link = await self._current_row()
        sealed = await keeping.vault.seal_link(link.user_id, self._link_id, secrets)
        async with keeping.catalog.write() as connection:
            is_stored = await catalog.replace_secrets(
                connection,
                self._link_id,
                sealed,
                revision=self._revision,
                grant_ends_at=keeping.grant_ends_at(answer),
                at=keeping.clock.now_ms(),
            )
        if not is_stored:
            return None
        self._secrets, self._revision = secrets, self._revision + 1
        return answer.grant.access_token

    async def _current_row(self) -> LinkRow:
        async with self._keeping.catalog.read() as connection:
            link = await catalog.get_link(connection, self._link_id)
        if link is None or not link.is_live or link.generation != self._generation:
            raise AuthRevoked("This account is not linked any more, or was linked anew.")
        if link.state == catalog.REVOKED:
            raise AuthRevoked("The provider has ended what its owner allowed; he has to link it anew.")
        return link

    async def _revoked(self, message: str, *, code: str | None = None) -> AuthRevoked:
        async with self._keeping.catalog.write() as connection:
            is_news = await catalog.set_link_state(
                connection,
                self._link_id,
                catalog.REVOKED,
                reason=AuthRevoked.code,
                at=self._keeping.clock.now_ms(),
                generation=self._generation,
                revision=self._revision,
            )
        if is_news:
            log.warning("link.revoked", link=self._link_id, provider_code=code)
        return AuthRevoked(message, provider_code=code)

    async def _release(self, claim: int) -> None:
        async with self._keeping.catalog.write() as connection:
            await catalog.release_refresh(connection, self._link_id, until=claim)


class HeldTokens:
    """
    An access token that is held in memory alone, for the last calls of a link whose row is gone.
    """

    def __init__(self, access_token: str) -> None:
        self._access_token = access_token

    async def access_token(self, *, stale: str | None = None) -> str:
        if stale == self._access_token:
            raise AuthRevoked("The last access token of this account has run out.")
        return self._access_token

    def __repr__(self) -> str:
        return "HeldTokens()"


class TokenSources:
    """
    Gives each link its one token source of this process.
    """

    def __init__(self, keeping: TokenKeeping) -> None:
        self._keeping = keeping
        self._sources: WeakValueDictionary[tuple[str, int], LinkTokens] = WeakValueDictionary()

    def of(self, link: LinkRow, secrets: LinkSecrets, profile: OAuthProfile) -> LinkTokens:
        """
        Return the link's token source; what is newer in *secrets* it finds out by itself.
        """
        source = self._sources.get((link.id, link.generation))
        if source is None:
            source = LinkTokens(self._keeping, link, secrets, profile)
            self._sources[link.id, link.generation] = source
        return source

    async def settle(self, *, patience_s: float) -> None:
        """
        Give every refresh that is under way so long to be stored, then end it.
        """
        await asyncio.gather(*(source.settle(patience_s=patience_s) for source in self._sources.values()))


def _look_at(task: "asyncio.Task[str]") -> None:
    # All who waited may be gone.
    if not task.cancelled():
        task.exception()


def _checked_by_mypy(kept: LinkTokens, held: HeldTokens) -> tuple[TokenSource, TokenSource]:
    return kept, held
