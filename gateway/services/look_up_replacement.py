"""
Replacing the look-up key after somebody has left, so that old catalogs no longer tell that he was here.

    1. the next key exists, durably
    2. in one transaction: new rows are found by it from now on
    3. in batches: what everybody is found by is made anew, from the sealed records; both keys are tried meanwhile
    4. nobody is found by the key before any more: it is shredded, with a receipt

Each step may be cut short and is taken again. Whoever frees or adds an identity keeps step 2 away until his transaction
ends: so a row is found by the key before only if it was there at step 2, and somebody who is erased after step 2 is known to
have been found by the new key. Many who leave share one replacement.
"""

import structlog

from gateway.account_settings import Leaving as Limits
from gateway.base.clock import Clock
from gateway.base.errors import GatewayError
from gateway.catalog import identities as catalog
from gateway.catalog.identities import Identity
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.markers import move_marker, read_marker
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import SlotShredded
from gateway.services.identities import IdentityService
from gateway.services.look_ups import LookUpKeys, LookUps, key_name
from gateway.services.work import WorkBell

log = structlog.get_logger()

_REPLACED_AT = "look-up-replaced-at"


class IdentitiesUnreadable(GatewayError):
    """
    What is kept of some identities is damaged, so their look-ups cannot be made anew, and the old key must stay.
    """

    code = "identities-unreadable"


class LookUpReplacement:
    """
    Replaces the look-up key.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        look_ups: LookUps,
        identities: IdentityService,
        clock: Clock,
        bell: WorkBell,
        limits: Limits,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._look_ups = look_ups
        self._identities = identities
        self._clock = clock
        self._bell = bell
        self._limits = limits

    async def follow_keys(self) -> None:
        """
        Bring the catalog to the newest look-up key that there is; an older catalog may have been restored.

        Done at the start, before anybody is erased or added.
        """
        async with self._catalog.read() as connection:
            before = newest = await catalog.look_up_generation(connection)
        while await self._keyring.had_service_key(key_name(newest + 1)):
            newest += 1
        if newest != before:
            async with self._catalog.write() as connection:
                await catalog.follow_generation(connection, newest)
                # Who left since that catalog was made, and had come after, is not known to it.
                await catalog.note_left(connection, newest)
            log.warning("look_ups.followed_keys", before=before, now=newest)

    async def mend(self) -> None:
        """
        Have everybody found again whose look-ups are of a key that is gone. Done at the start, before anybody signs in.
        """
        keys = await self._look_ups.keys()
        mended, unreadable = await self._renew_all(keys, older_than=keys.oldest)
        if mended or unreadable:
            log.warning("look_ups.mended", identities=mended, unreadable=unreadable)

    async def tick(self) -> None:
        """
        Call for a replacement where one is due or under way. Done every minute or so.
        """
        async with self._catalog.read() as connection:
            generation = await catalog.look_up_generation(connection)
            left = await catalog.left_generation(connection)
            replaced_at = await read_marker(connection, _REPLACED_AT)
        if await self._is_under_way(generation) or self._is_due(generation, left, replaced_at):
            async with self._catalog.write() as connection:
                await enqueue_job(connection, "look-ups", "replacement")
            self._bell.ring()

    async def carry_on(self) -> None:
        """
        Replace the key, if that is due, or take up a replacement where it was.

        Raises:
            IdentitiesUnreadable: somebody could not be found any more if the old key went.
        """
        async with self._catalog.read() as connection:
            generation = await catalog.look_up_generation(connection)
            left = await catalog.left_generation(connection)
            replaced_at = await read_marker(connection, _REPLACED_AT)
        if not await self._is_under_way(generation):
            if not self._is_due(generation, left, replaced_at):
                return
            await self._look_ups.prepare(generation + 1)
            async with self._catalog.write() as connection:
                if await catalog.next_generation(connection, after=generation):
                    await move_marker(connection, _REPLACED_AT, self._clock.now_ms())
            generation += 1
        keys = await self._look_ups.keys()
        if keys.generation != generation:
            # Somebody else went on meanwhile.
            return
        renewed, unreadable = await self._renew_all(keys, older_than=generation)
        if unreadable:
            raise IdentitiesUnreadable(
                f"{unreadable} identities cannot be read, so the look-up key of before has to stay; their ids are in "
                "the log. Their owners mend that by signing in with them, or by removing them"
            )
        await self._keyring.shred_service_key(key_name(generation - 1))
        log.info("look_ups.replaced", generation=generation, identities=renewed)

    async def _is_under_way(self, generation: int) -> bool:
        return generation > 1 and not await self._keyring.receipts_of(key_name(generation - 1))

    def _is_due(self, generation: int, left: int, replaced_at: int) -> bool:
        passed = self._clock.now_ms() - replaced_at
        # A clock that was ahead must not keep a key for ever.
        return left >= generation and not 0 <= passed < self._limits.look_ups_interval_s * 1000

    async def _renew_all(self, keys: LookUpKeys, *, older_than: int) -> tuple[int, int]:
        """
        Have all who are found by an older key be found by the newest; return how many there were, and could not be read.
        """
        renewed = unreadable = 0
        after = ""
        while True:
            async with self._catalog.read() as connection:
                found = await catalog.found_by_older(
                    connection, older_than, after=after, limit=self._limits.look_ups_batch
                )
            if not found:
                return renewed, unreadable
            after = found[-1][0].id
            changes: list[tuple[Identity, bytes]] = []
            for identity, slot in found:
                try:
                    proven = await self._identities.opened(slot, identity)
                except SlotShredded:
                    continue  # Erased just now, and the identity with him.
                if proven is None:
                    unreadable += 1
                    log.error("look_ups.identity_unreadable", identity=identity.id, user=identity.user_id)
                else:
                    changes.append((identity, keys.current(proven.space, proven.subject)))
            async with self._catalog.write() as connection:
                await catalog.change_look_ups(connection, changes, generation=keys.generation)
            renewed += len(changes)
