"""
Where blobs can be, users' own accounts included: one shared connection for each link that is in use.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog

from gateway.api import AuthRevoked, Backend, BackendError, TokenSource, Transient
from gateway.backends.near import NearBlobs
from gateway.base.ids import UserId
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.crypto.errors import CryptoError
from gateway.database import Database
from gateway.keyring.errors import SlotShredded
from gateway.services.link_connections import Connector, SharedConnection
from gateway.services.link_grants import HeldGrant, HeldGrants, grant_of
from gateway.services.link_kinds import LinkKind, LinkKinds
from gateway.services.link_notes import LinkNotes, NotedBackend
from gateway.services.link_secrets import LinkSecrets, LinkVault
from gateway.services.link_tokens import HeldTokens, LinkTokens, TokenSources
from gateway.services.places import HOME, Places

log = structlog.get_logger()

_CLOSE_S: Final = 5.0
"""How long connections may take to close when the gateway stops; those that take longer are cancelled."""


class LinkedPlaces:
    """
    The home and every linked account, each by the name that placements have for it.
    """

    def __init__(
        self,
        home: Backend,
        catalog_db: Database,
        vault: LinkVault,
        kinds: LinkKinds,
        connector: Connector,
        sources: TokenSources,
        notes: LinkNotes,
        *,
        near_home: NearBlobs | None = None,
    ) -> None:
        """
        Args:
            near_home: the home's blobs as files, where they are files of this machine.
        """
        self.home = home
        self._near_home = near_home
        self._catalog = catalog_db
        self._vault = vault
        self._kinds = kinds
        self._connector = connector
        self._sources = sources
        self._notes = notes
        self._shared: dict[str, SharedConnection] = {}
        self._retired: set[SharedConnection] = set()
        self._farewells: dict[str, Backend] = {}
        self._is_closed = False

    @asynccontextmanager
    async def at(self, name: str, *, even_if_revoked: bool = False) -> AsyncIterator[Backend]:
        """
        Give the backend at *name*, "home" or the id of a link, for as long as the context is entered.

        Raises:
            AuthRevoked: on entering; the account is not linked any more, or its grant is gone.
            BackendError: on entering; it cannot be connected to.
        """
        if name == HOME:
            yield self.home
            return
        if name in self._farewells:
            yield self._farewells[name]
            return
        link = await self._live_link(name)
        if link.state == catalog.REVOKED and not even_if_revoked:
            raise AuthRevoked("The grant of this account is gone; its owner has to link it anew.")
        self._notes.saw(link)
        async with AsyncExitStack() as stack:
            try:
                backend = await stack.enter_async_context(self._connection_of(link).used())
            except BackendError as exc:
                await self._notes.failed(link, exc)
                raise
            yield backend

    def near(self, name: str) -> NearBlobs | None:
        """
        Give the blobs at *name* as files, where they are files of this machine; None elsewhere.
        """
        return self._near_home if name == HOME else None

    @asynccontextmanager
    async def farewell(self, user_id: UserId, *, patience_s: float) -> AsyncIterator[HeldGrants]:
        """
        Keep every live account of the user reachable while it is entered, whatever becomes of his keys and rows.

        The access tokens are held in memory and are never refreshed. An account that cannot be reached within
        *patience_s* is left out: `at` then says why. On leaving it, the grants of a user whose keys are gone are revoked
        at their providers, unless they were before.
        """
        async with self._catalog.read() as connection:
            links = await catalog.links_of(connection, user_id)
        async with AsyncExitStack() as stack:
            last = {
                link.id: self._last_connection_of(link, patience_s=patience_s)
                for link in links
                if link.state != catalog.REVOKED
            }
            for kept in last.values():
                stack.push_async_callback(kept.close, patience_s=_CLOSE_S)
            entering = [asyncio.create_task(stack.enter_async_context(kept.used())) for kept in last.values()]
            try:
                if entering:
                    await asyncio.wait(entering, timeout=patience_s)
            finally:
                for task in entering:
                    task.cancel()
                entered = await asyncio.gather(*entering, return_exceptions=True)
            for link_id, backend in zip(last, entered, strict=True):
                if isinstance(backend, BaseException):
                    log.warning("link.no_farewell", link=link_id, error=type(backend).__name__)
                else:
                    self._farewells[link_id] = backend
                    stack.callback(self._farewells.pop, link_id, None)
            grants = HeldGrants(await self._grants_of(user_id), self._connector.http)
            stack.push_async_callback(self._revoke_rest, user_id, grants)
            yield grants

    async def _grants_of(self, user_id: UserId) -> list[HeldGrant]:
        # Read only now: a token that was refreshed for the farewell may have replaced the one before.
        # And of links that have ended too: their providers may not have been told yet.
        async with self._catalog.read() as connection:
            links = await catalog.links_of(connection, user_id, including_ended=True)
        grants = []
        for link in links:
            try:
                grant = await grant_of(link, self._kinds, self._vault)
            except (SlotShredded, CryptoError) as exc:
                log.warning("link.not_revoked", link=link.id, kind=link.kind, error=type(exc).__name__)
                continue
            if grant is not None:
                grants.append(grant)
        return grants

    async def _revoke_rest(self, user_id: UserId, grants: HeldGrants) -> None:
        # Otherwise shredding failed and is tried again, and the next time needs what was allowed.
        if await self._vault.is_shredded(user_id):
            await grants.revoke_all()

    async def tokens_of(self, link: LinkRow) -> LinkTokens | None:
        """
        Return the token source of a live link, None for kinds without sign-in.
        """
        kind = self._kinds.require(link.kind)
        return None if kind.profile is None else self._source(link, await self._opened(link), kind)

    def forget(self, link_id: str) -> None:
        """
        Let nobody new use the connection to a link that has ended or was linked anew.
        """
        connection = self._shared.pop(link_id, None)
        if connection is not None:
            self._retire(connection)

    async def close(self) -> None:
        """
        Close every connection in bounded time; a refresh that is under way is stored first.
        """
        self._is_closed = True
        await self._sources.settle(patience_s=_CLOSE_S)
        connections = [*self._shared.values(), *self._retired]
        await asyncio.gather(*(connection.close(patience_s=_CLOSE_S) for connection in connections))
        self._shared.clear()
        self._retired.clear()

    async def _live_link(self, link_id: str) -> LinkRow:
        if self._is_closed:
            raise Transient("The gateway is stopping.")
        async with self._catalog.read() as connection:
            link = await catalog.get_link(connection, link_id)
        if link is None or not link.is_live:
            raise AuthRevoked("This account is not linked any more.")
        return link

    def _connection_of(self, link: LinkRow) -> SharedConnection:
        connection = self._shared.get(link.id)
        if connection is None or not connection.is_usable or connection.generation != link.generation:
            self.forget(link.id)
            connection = self._shared[link.id] = SharedConnection(
                lambda: self._connected(link),
                generation=link.generation,
                idle_s=self._connector.limits.connection_idle_s,
            )
        return connection

    def _retire(self, connection: SharedConnection) -> None:
        connection.retire()
        self._retired = {kept for kept in self._retired if not kept.is_over}
        self._retired.add(connection)

    def _last_connection_of(self, link: LinkRow, *, patience_s: float) -> SharedConnection:
        return SharedConnection(
            lambda: self._taking_leave(link, patience_s=patience_s), generation=link.generation, idle_s=0
        )

    @asynccontextmanager
    async def _connected(self, link: LinkRow) -> AsyncIterator[Backend]:
        kind = self._kinds.require(link.kind)
        secrets = await self._opened(link)
        tokens = None if kind.profile is None else self._source(link, secrets, kind)
        async with self._connector.connected(
            kind, account=account_name(link), settings=secrets.settings, tokens=tokens
        ) as backend:
            yield NotedBackend(backend, link, self._notes)

    @asynccontextmanager
    async def _taking_leave(self, link: LinkRow, *, patience_s: float) -> AsyncIterator[Backend]:
        kind = self._kinds.require(link.kind)
        secrets = await self._opened(link)
        tokens: TokenSource | None = None
        if kind.profile is not None:
            source = self._source(link, secrets, kind)
            held = await source.access_token()
            try:
                # One that has all its time before it; but a node that died of asking keeps others from it for a while.
                async with asyncio.timeout(patience_s / 2):
                    held = await source.refreshed(stale=held)
            except (BackendError, TimeoutError) as exc:
                log.info("link.farewell_not_refreshed", link=link.id, error=type(exc).__name__)
            tokens = HeldTokens(held)
        async with self._connector.connected(
            kind, account=account_name(link), settings=secrets.settings, tokens=tokens
        ) as backend:
            yield backend

    async def _opened(self, link: LinkRow) -> LinkSecrets:
        try:
            return await self._vault.open_link(link)
        except SlotShredded:
            raise AuthRevoked("What opens this account was destroyed with its owner's keys.") from None

    def _source(self, link: LinkRow, secrets: LinkSecrets, kind: LinkKind) -> LinkTokens:
        assert kind.profile is not None
        return self._sources.of(link, secrets, kind.profile)


def account_name(link: LinkRow) -> str:
    """
    Return what logs and messages call the account.
    """
    return f"{link.kind}:{link.id[:8]}"


def _checked_by_mypy(places: LinkedPlaces) -> Places:
    return places
