"""
Looking whether copies are still what was placed, and mending those that are not from one that is.

A look compares the size and the provider's hash, which costs no download; a deep look opens every chunk.
"""

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from gateway.api import BackendError, IntegrityMismatch, NotFound, new_blob_key
from gateway.base.clock import Clock
from gateway.base.ids import RecordingId
from gateway.catalog import placements as placed
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow, get_recording
from gateway.crypto.errors import CryptoError
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import PlacedBlob, SourceFailed, audio_key, blob_size, identity_of, ref_of
from gateway.services.copying import CopyService
from gateway.services.opening import verified_sha256
from gateway.services.places import Places
from gateway.services.work import WorkBell

log = structlog.get_logger()


class Verdict(enum.Enum):
    """
    What a look at a copy showed.
    """

    WHOLE = "whole"
    MISSING = "missing"
    DAMAGED = "damaged"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What is the matter with one copy, and whether another is being made in its place.
    """

    recording_id: RecordingId
    place: str
    verdict: Verdict
    is_mended: bool = False


class CheckService:
    """
    Checks recordings.
    """

    def __init__(
        self,
        catalog_db: Database,
        keyring: Keyring,
        places: Places,
        copies: CopyService,
        clock: Clock,
        bell: WorkBell,
    ) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._places = places
        self._copies = copies
        self._clock = clock
        self._bell = bell

    async def check(self, recording_id: RecordingId, *, deep: bool = True) -> list[Finding]:
        """
        Look at every copy of the recording, and call for another in place of each that is missing or damaged.

        A copy that is lost with no whole one left is told in the log, and stays as it is.
        """
        async with self._catalog.read() as connection:
            recording = await get_recording(connection, recording_id)
            everywhere = await placed.placements_of(connection, recording_id)
        if recording is None or not recording.is_live:
            return []
        verdicts: list[tuple[Placement, Verdict]] = []
        for placement in everywhere:
            if placement.state == "placed":
                verdict = await self._look(recording, placement, deep=deep)
                verdicts.append((placement, verdict))
                # Also one out of reach: a scrub would come back to it for ever.
                async with self._catalog.write() as connection:
                    await placed.mark_checked(connection, placement.blob_key, at=self._clock.now_ms())
        findings = []
        for placement, verdict in verdicts:
            is_mended = False
            if verdict in (Verdict.MISSING, Verdict.DAMAGED):
                is_mended = await self._mend(recording, placement, verdict)
            findings.append(Finding(recording_id, placement.backend, verdict, is_mended))
        return findings

    async def due(self, *, checked_before: int, limit: int) -> list[RecordingId]:
        """
        Return recordings that nobody has looked at since *checked_before*, longest first.
        """
        async with self._catalog.read() as connection:
            return await placed.due_for_check(connection, checked_before=checked_before, limit=limit)

    async def scrub(self, *, deep: bool = False, batch: int = 100) -> AsyncIterator[Finding]:
        """
        Look once at every copy that there is now.
        """
        after: RecordingId | None = None
        while True:
            async with self._catalog.read() as connection:
                found = await placed.placed_recordings(connection, after=after, limit=batch)
            for recording_id in found:
                for finding in await self.check(recording_id, deep=deep):
                    yield finding
            if not found:
                return
            after = found[-1]

    async def _look(self, recording: RecordingRow, placement: Placement, *, deep: bool) -> Verdict:
        try:
            async with self._places.at(placement.backend) as backend:
                stat = await backend.stat(ref_of(placement))
            if stat.size != blob_size(recording):
                return Verdict.DAMAGED
            if placement.digest is not None and stat.digest is not None and placement.digest != stat.digest:
                return Verdict.DAMAGED
            if deep:
                await verified_sha256(
                    PlacedBlob(self._places, placement),
                    await audio_key(self._keyring, recording),
                    identity_of(recording).to_bytes(),
                    size=recording.size,
                    commitment=recording.commitment,
                )
        except NotFound:
            return Verdict.MISSING
        except (CryptoError, IntegrityMismatch):
            return Verdict.DAMAGED
        except (BackendError, LeafShredded, SlotShredded):
            return Verdict.UNREACHABLE
        return Verdict.WHOLE

    async def _mend(self, recording: RecordingRow, placement: Placement, verdict: Verdict) -> bool:
        """
        Call for another copy in place of one that is not whole; False if there is none that it could be made from.
        """
        try:
            await self._copies.source_for(recording, placement)
        except SourceFailed:
            log.error(
                "recording.lost", recording=str(recording.id), place=placement.backend, verdict=verdict.value
            )
            return False
        except (LeafShredded, SlotShredded):
            return False
        if verdict is Verdict.DAMAGED:
            # It is only in the way, and nothing must be left that no placement knows of.
            try:
                async with self._places.at(placement.backend) as backend:
                    await backend.delete(ref_of(placement))
            except BackendError as error:
                log.warning("copy.damaged_stays", place=placement.backend, error=error.code)
                return False
        blob_key = new_blob_key()
        async with self._catalog.write() as connection:
            is_mended = await placed.place_anew(
                connection, placement, backend=placement.backend, blob_key=blob_key, at=self._clock.now_ms()
            )
            if is_mended:
                await enqueue_job(connection, "copy", blob_key)
        self._bell.ring()
        log.warning(
            "copy.mended", recording=str(recording.id), place=placement.backend, verdict=verdict.value
        )
        return is_mended
