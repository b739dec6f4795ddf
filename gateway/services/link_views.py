"""
Links as their owner sees them: whose account it is, how it is, and what he can do about it.
"""

from dataclasses import dataclass
from typing import Any

import structlog

from gateway.api import BackendError, Disposition, Quota
from gateway.base.ids import UserId
from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.crypto.errors import CryptoError
from gateway.database import Database
from gateway.services.errors import NotFound, ProviderUnavailable
from gateway.services.link_advice import advice
from gateway.services.link_health import LinkHealth
from gateway.services.link_kinds import LinkKinds
from gateway.services.link_notes import LinkNotes
from gateway.services.link_secrets import LinkSecrets, LinkVault

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """
    One link; *label* is None if what is kept of it cannot be opened.
    """

    row: LinkRow
    title: str
    label: str | None
    settings: dict[str, Any]
    what_to_do: str | None
    manage_url: str | None
    quota: Quota | None


class LinkViews:
    """
    Opens links for their owners.
    """

    def __init__(
        self, catalog_db: Database, vault: LinkVault, kinds: LinkKinds, notes: LinkNotes, health: LinkHealth
    ) -> None:
        self.kinds = kinds
        self._catalog = catalog_db
        self._vault = vault
        self._notes = notes
        self._health = health

    async def all_of(self, user_id: UserId) -> list[LinkView]:
        """
        Return the user's links, oldest first.
        """
        async with self._catalog.read() as connection:
            rows = await catalog.links_of(connection, user_id)
        return [await self._view(row) for row in rows]

    async def one(self, user_id: UserId, link_id: str) -> LinkView:
        """
        Return one of the user's links.

        Raises:
            NotFound: there is no such link, it is another user's, or it has ended.
        """
        return await self._view(await self._live_row(user_id, link_id))

    async def checked(self, user_id: UserId, link_id: str) -> LinkView:
        """
        Try the account now, and return the link as it is then.

        Raises:
            NotFound: there is no such link, it is another user's, or it has ended.
            ProviderUnavailable: it does not answer now, so nothing can be said.
        """
        link = await self._live_row(user_id, link_id)
        try:
            await self._health.check(link)
        except BackendError as exc:
            if exc.disposition is Disposition.RETRY:
                raise ProviderUnavailable("the provider does not answer now") from None
            log.info("link.check_failed", link=link_id, kind=link.kind, code=exc.code)
        return await self.one(user_id, link_id)

    async def _live_row(self, user_id: UserId, link_id: str) -> LinkRow:
        async with self._catalog.read() as connection:
            link = await catalog.get_link(connection, link_id)
        if link is None or link.user_id != user_id or not link.is_live:
            raise NotFound("there is no such link")
        return link

    async def _view(self, row: LinkRow) -> LinkView:
        kind = self.kinds.get(row.kind)
        try:
            secrets: LinkSecrets | None = await self._vault.open_link(row)
        except CryptoError:
            log.error("link.unreadable", link=row.id)
            secrets = None
        return LinkView(
            row=row,
            title=row.kind if kind is None else kind.title,
            label=None if secrets is None else secrets.label,
            settings={} if secrets is None or kind is None else kind.shown_settings(secrets.settings),
            what_to_do=advice(kind, row),
            manage_url=None if kind is None or kind.profile is None else kind.profile.manage_url,
            quota=self._notes.quotas.get(row.id),
        )
