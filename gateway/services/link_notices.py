"""
Telling users that an account which they linked does not work, or soon won't: once for each trouble.

A trouble lasts until a look through all links finds the account well again, so one that comes and goes in between is one.
"""

from typing import Final

from gateway.catalog import links as catalog
from gateway.catalog.links import EXPIRING, LinkRow
from gateway.catalog.users import share_users
from gateway.crypto.errors import CryptoError
from gateway.database import Database
from gateway.keyring.errors import KeyringError
from gateway.services.link_advice import advice
from gateway.services.link_kinds import LinkKinds
from gateway.services.link_secrets import LinkVault
from gateway.services.notices import Notices

_BATCH: Final = 100


class LinkNotices:
    """
    Tells users of their links.
    """

    def __init__(
        self, catalog_db: Database, vault: LinkVault, kinds: LinkKinds, notices: Notices, *, after_s: int
    ) -> None:
        self._catalog = catalog_db
        self._vault = vault
        self._kinds = kinds
        self._notices = notices
        self._after_s = after_s

    async def tell(self, now: int) -> None:
        """
        Tell whoever has to be told.
        """
        async with self._catalog.write() as connection:
            await catalog.note_ill(connection, at=now)
        while True:
            async with self._catalog.read() as connection:
                found = await catalog.untold_links(
                    connection, ill_before=now - self._after_s * 1000, limit=_BATCH
                )
            for link, ill_since in found:
                await self._tell(link, ill_since)
            if len(found) < _BATCH:
                return

    async def _tell(self, link: LinkRow, ill_since: int) -> None:
        told = "ending" if link.state == EXPIRING else "ill"
        kind = self._kinds.get(link.kind)
        facts = {
            "title": link.kind if kind is None else kind.title,
            "label": await self._label(link),
            "advice": advice(kind, link),
            "ends_at": link.grant_ends_at,
        }
        async with self._catalog.write() as connection:
            await share_users(connection, [link.user_id])
            if await catalog.note_link_told(connection, link, told):
                await self._notices.tell(
                    connection,
                    link.user_id,
                    "link-ending" if link.state == EXPIRING else "link-trouble",
                    facts,
                    occasion=f"{link.id}-{ill_since}",
                )

    async def _label(self, link: LinkRow) -> str:
        try:
            return (await self._vault.open_link(link)).label
        except (CryptoError, KeyringError):
            return ""
