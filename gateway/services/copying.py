"""
Copies of a recording at other places than its home, made from a copy that is whole.

Each copy is a job of its own, so that several go on at once and one that is stuck holds up no other.
Where the route says so, a copy that finds no room goes to the next place of the user's choice.
"""

from collections.abc import Sequence
from contextlib import suppress

import structlog

from gateway.api import BackendError, Disposition, IntegrityMismatch, Transient, new_blob_key
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import placements as placed
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow, get_recording
from gateway.catalog.uploads import pieces_of
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import BlobCopy, PlacedBlob, SourceFailed, SpooledBlob, audio_key, blob_size
from gateway.services.disclosures import DisclosureRegister
from gateway.services.opening import SealedSource
from gateway.services.places import HOME, Places
from gateway.services.purging import PurgeService
from gateway.services.putting import BlobPutter, Landed, Overtaken
from gateway.services.routing import DefaultRoute, route_in_force
from gateway.services.work import WorkBell
from gateway.spool import Spool

log = structlog.get_logger()


class CopyService:
    """
    Makes copies, and takes the home's away where the user wants his own clouds alone.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        spool: Spool,
        places: Places,
        putter: BlobPutter,
        purging: PurgeService,
        disclosures: DisclosureRegister,
        clock: Clock,
        bell: WorkBell,
        *,
        default_route: DefaultRoute,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._spool = spool
        self._places = places
        self._putter = putter
        self._purging = purging
        self._disclosures = disclosures
        self._clock = clock
        self._bell = bell
        self._default_route: DefaultRoute = default_route

    async def copy(self, blob_key: str) -> None:
        """
        Bring the blob of a pending placement to its place; done again, it changes nothing.

        Raises:
            BackendError: the place refused, and there is no other to go to; its disposition says what to do.
            SourceFailed: no copy can be read that it could be made from.
        """
        async with self._catalog.read() as connection:
            placement = await placed.get_placement(connection, blob_key)
            recording = None
            if placement is not None:
                recording = await get_recording(connection, placement.recording_id)
        if placement is None or recording is None:
            return
        if not recording.is_live:
            # An attempt that died may have left a blob behind the purge's back.
            await self._purging.remove_blobs(recording.id)
            return
        if placement.state != "pending":
            return
        try:
            await self._bring(recording, placement)
        except (Overtaken, LeafShredded, SlotShredded):
            log.info("copy.overtaken", recording=str(recording.id), place=placement.backend)
        except SourceFailed:
            async with self._catalog.write() as connection:
                await enqueue_job(connection, "check", str(recording.id))
            raise
        except IntegrityMismatch as error:
            # Changed on the way, or at the provider: what it was copied from opened whole, so it is sent again.
            raise Transient(f"The blob did not arrive as it was sent: {error}") from error
        except BackendError as error:
            if error.disposition is not Disposition.PARK or not await self._fall_over(recording, placement):
                raise
            log.warning(
                "copy.fell_over", recording=str(recording.id), place=placement.backend, error=error.code
            )

    async def trim(self, recording_id: RecordingId) -> None:
        """
        Take the home's copy away, if its user keeps his recordings in his own clouds alone and they are all there.

        Raises:
            BackendError: a place refused; the home's copy stays meanwhile.
        """
        async with self._catalog.read() as connection:
            recording = await get_recording(connection, recording_id)
            everywhere = await placed.placements_of(connection, recording_id)
            if recording is None or not recording.is_live:
                return
            route = await route_in_force(connection, recording.user_id, self._default_route)
        home = next((p for p in everywhere if p.backend == HOME and p.state == "placed"), None)
        copies = [p for p in everywhere if p.backend != HOME and p.state in ("pending", "placed")]
        if route.keeps_home or home is None or not copies or any(p.state == "pending" for p in copies):
            return
        for copy in copies:
            async with self._places.at(copy.backend) as backend:
                found = await self._putter.find(backend, copy, blob_size(recording))
            if found is None:
                async with self._catalog.write() as connection:
                    await enqueue_job(connection, "check", str(recording_id))
                return
        await self._purging.remove_copy(home)

    async def source_for(self, recording: RecordingRow, placement: Placement | None) -> BlobCopy:
        """
        Return the nearest copy that opens whole, other than *placement*; every chunk of it was opened.

        Raises:
            SourceFailed: there is none.
            LeafShredded, SlotShredded: the recording is erased.
        """
        key = await audio_key(self._keyring, recording)
        trouble = "there is no other copy"
        for blob in await self._candidates(recording, placement):
            copy = BlobCopy(blob, recording, key)
            try:
                await copy.sha256()
            except SourceFailed as error:
                trouble = str(error)
            else:
                return copy
        raise SourceFailed(trouble)

    async def _bring(self, recording: RecordingRow, placement: Placement) -> None:
        size = blob_size(recording)
        async with self._places.at(placement.backend) as backend:
            landed = await self._putter.find(backend, placement, size)
            if landed is None:
                source = await self.source_for(recording, placement)
                landed = await self._putter.put(backend, recording, placement, source)
            is_kept = await self._note_placed(recording, placement, landed, size)
            if not is_kept:
                log.info("copy.too_late", recording=str(recording.id), place=placement.backend)
                await backend.delete(landed.ref)

    async def _candidates(
        self, recording: RecordingRow, placement: Placement | None
    ) -> Sequence[SealedSource]:
        async with self._catalog.read() as connection:
            everywhere = await placed.placements_of(connection, recording.id)
            pieces = await pieces_of(connection, recording.id)
        own_key = None if placement is None else placement.blob_key
        others = [p for p in everywhere if p.state == "placed" and p.blob_key != own_key]
        others.sort(key=lambda p: p.backend != HOME)
        found: list[SealedSource] = [PlacedBlob(self._places, other) for other in others]
        if len(pieces) == 1 and pieces[0].is_ended and pieces[0].length == recording.size:
            found.append(SpooledBlob(self._spool, recording.id, pieces[0].fence))
        return found

    async def _note_placed(
        self, recording: RecordingRow, placement: Placement, landed: Landed, size: int
    ) -> bool:
        """
        Note that the copy is there; False if nobody wants it any more.
        """
        disclosure = None
        if placement.backend != HOME:
            disclosure = await self._disclosures.of_copy(
                recording.user_id, recording.key_slot, placement.backend
            )
        async with self._catalog.write() as connection:
            arrived = placed.Arrived(placement.blob_key, landed.ref.locator, size, landed.digest)
            is_placed = await placed.mark_placed(connection, arrived, at=self._clock.now_ms())
            if is_placed:
                await self._disclosures.insert(connection, disclosure)
                route = await route_in_force(connection, recording.user_id, self._default_route)
                if not route.keeps_home:
                    await enqueue_job(connection, "trim", str(recording.id))
            else:
                current = await placed.get_placement(connection, placement.blob_key)
                is_placed = current is not None and current.state == "placed"
        self._bell.ring()
        return is_placed

    async def _fall_over(self, recording: RecordingRow, placement: Placement) -> bool:
        """
        Send the copy to the next place of the user's choice, if there is one; tell whether there was.
        """
        async with self._catalog.write() as connection:
            route = await route_in_force(connection, recording.user_id, self._default_route)
            if not route.falls_over or placement.backend not in route.targets:
                return False
            everywhere = await placed.placements_of(connection, recording.id)
            taken = {p.backend for p in everywhere}
            later = route.targets[route.targets.index(placement.backend) + 1 :]
            following = next((target for target in later if target not in taken), None)
            if following is None:
                return False
            blob_key = new_blob_key()
            if await placed.place_anew(
                connection, placement, backend=following, blob_key=blob_key, at=self._clock.now_ms()
            ):
                await enqueue_job(connection, "copy", blob_key)
        self._bell.ring()
        with suppress(BackendError, LeafShredded, SlotShredded):
            async with self._places.at(placement.backend) as backend:
                await self._putter.abandon(backend, recording, placement)
        return True
