"""
What users allowed at providers, and its end there.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import structlog

from gateway.api import OAuthProfile
from gateway.catalog.links import LinkRow
from gateway.services.link_kinds import LinkKinds
from gateway.services.link_secrets import LinkVault

log = structlog.get_logger()

_REVOKE_S: Final = 10


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """
    A grant that can be ended although nothing is kept of it any more.
    """

    link: LinkRow
    profile: OAuthProfile
    token: str = field(repr=False)

    async def revoke(self, http: aiohttp.ClientSession) -> bool:
        """
        Tell the provider that it is over; return whether it says so too.
        """
        assert self.profile.revoke is not None
        try:
            async with asyncio.timeout(_REVOKE_S):
                await self.profile.revoke(http, self.token)
        except Exception as exc:  # noqa: BLE001 - it is over for us whatever the provider says, or its plugin does
            log.warning("link.not_revoked", link=self.link.id, kind=self.link.kind, error=type(exc).__name__)
            return False
        return True


class HeldGrants:
    """
    What somebody allowed at his providers, held in memory while he is taken leave of.
    """

    def __init__(self, grants: Iterable[HeldGrant], http: aiohttp.ClientSession) -> None:
        self._grants = {grant.link.id: grant for grant in grants}
        self._http = http

    @property
    def link_ids(self) -> list[str]:
        return list(self._grants)

    async def revoke(self, link_id: str) -> bool:
        """
        Tell the provider that it is over; return whether it says so too. It is not told again then.
        """
        is_over = await self._grants[link_id].revoke(self._http)
        if is_over:
            del self._grants[link_id]
        return is_over

    async def revoke_all(self) -> None:
        """
        Tell every provider that was not told yet; if one does not answer, that is left at that.
        """
        for link_id in self.link_ids:
            await self.revoke(link_id)


async def grant_of(link: LinkRow, kinds: LinkKinds, vault: LinkVault) -> HeldGrant | None:
    """
    Return the grant of a link of which something is kept, None where there is none that could be revoked.

    Raises:
        SlotShredded, SealBroken: what is kept of it does not open.
    """
    kind = kinds.get(link.kind)
    if link.secrets is None or kind is None or kind.profile is None or kind.profile.revoke is None:
        return None
    kept = await vault.open_link(link)
    token = kept.refresh_token or kept.access_token
    return None if token is None else HeldGrant(link, kind.profile, token)
