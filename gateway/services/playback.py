"""
Hearing a recording: any stretch of its plaintext, opened chunk by chunk as it is sent.

The bytes come from the nearest copy that is whole, or from the spool while there is none yet.
Every chunk is verified before a byte of it goes out.
A copy that is missing, damaged or out of reach is passed over in mid-stream, and looked at by a job afterwards;
where there is no other, the stream ends with an error, never with a short answer.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.api import BackendError
from gateway.base.ids import RecordingId, UserId
from gateway.base.secret import Secret
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow
from gateway.crypto.chunked import CHUNK_SIZE, Buffer
from gateway.crypto.errors import CryptoError
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import PlacedBlob, SpooledBlob, audio_key, identity_of, ref_of
from gateway.services.errors import NotFound, Unreadable
from gateway.services.opening import Heads, Stretch, open_stretch, opener_of
from gateway.services.places import HOME, Places
from gateway.services.sending import LongStretch, Outlet, Read, Senders
from gateway.services.views import RecordingViews
from gateway.services.work import WorkBell
from gateway.spool import PieceMissing, Spool, SpoolFailed

log = structlog.get_logger()

_FIRST_CHUNKS: Final = 4


class ReadEnded(Exception):
    """
    The recording was erased while it was being read.
    """


class LiveReads:
    """
    The streams of this process that are going out right now, so that an erasure can end them.
    """

    def __init__(self) -> None:
        self._of_recording: dict[RecordingId, set[Read]] = defaultdict(set)
        self._of_user: dict[UserId, set[Read]] = defaultdict(set)

    @asynccontextmanager
    async def following(self, recording: RecordingRow) -> AsyncIterator[Read]:
        """
        Take part, for as long as the context is entered.
        """
        read = Read()
        self._of_recording[recording.id].add(read)
        self._of_user[recording.user_id].add(read)
        try:
            yield read
        finally:
            self._leave(self._of_recording, recording.id, read)
            self._leave(self._of_user, recording.user_id, read)

    def end_all_of(self, recording_id: RecordingId) -> None:
        """
        End every stream of this recording at its next slab.
        """
        for read in self._of_recording.get(recording_id, ()):
            read.is_ended = True

    def end_all_in(self, recording_ids: Collection[str]) -> None:
        """
        End every stream of these recordings, which may be many: streams are few.
        """
        for recording_id in [one for one in self._of_recording if str(one) in recording_ids]:
            self.end_all_of(recording_id)

    def end_all_of_user(self, user_id: UserId) -> None:
        """
        End every stream of this user's recordings.
        """
        for read in self._of_user.get(user_id, ()):
            read.is_ended = True

    @staticmethod
    def _leave(reads: dict, key: object, read: Read) -> None:  # type: ignore[type-arg]
        reads[key].discard(read)
        if not reads[key]:
            del reads[key]


@dataclass(frozen=True, slots=True)
class _Bytes:
    """
    Where a recording's bytes are read from now: one copy, or the pieces in the spool.
    """

    stretches: Sequence[Stretch]
    copy: Placement | None
    others: int
    """How many more copies there are that have not failed this reader."""

    @property
    def is_near(self) -> bool:
        """
        Whether they lie in one file of this machine.
        """
        return self.stretches[0].near is not None


class PlaybackService:
    """
    Opens recordings.
    """

    def __init__(
        self,
        catalog_db: Database,
        views: RecordingViews,
        keyring: Keyring,
        spool: Spool,
        places: Places,
        reads: LiveReads,
        bell: WorkBell,
        senders: Senders,
    ) -> None:
        self._catalog = catalog_db
        self._views = views
        self._keyring = keyring
        self._spool = spool
        self._places = places
        self._reads = reads
        self._bell = bell
        self._senders = senders
        self._heads = Heads()

    async def open(
        self, recording: RecordingRow, *, start: int, length: int, outlet: Outlet | None = None
    ) -> AsyncIterator[Buffer]:
        """
        Yield *length* bytes of the recording's plaintext from *start*, verified, in slabs.

        With an *outlet* that is what comes first; what follows goes there, where it can, and is not yielded. So whoever asks
        for the second slab has written the first, and writes nothing until he is given the next one or none.

        Raises:
            NotFound: it is erased.
            Unreadable: what lies at rest is missing or damaged, at every place.
            ReadEnded: it was erased meanwhile.
            ConnectionError: the outlet's listener is gone.
        """
        try:
            key = await audio_key(self._keyring, recording)
        except (LeafShredded, SlotShredded):
            raise NotFound("there is no such recording") from None
        preamble = identity_of(recording).to_bytes()
        end = start + length
        attempts_without_progress = 0
        failed: set[str] = set()
        is_first = True
        async with self._reads.following(recording) as read:
            read.position = start
            while read.position < end:
                reached = read.position
                found = None
                try:
                    found = await self._locate(recording, failed)
                    if outlet is not None and not is_first:
                        if await self._send(found.stretches[0], key, preamble, outlet, read, end):
                            continue
                        outlet = None
                    stop = _first_stop(reached, end) if outlet is not None and found.is_near else end
                    for stretch in found.stretches:
                        async for plaintext in open_stretch(
                            stretch, key, preamble, read.position, stop, heads=self._heads
                        ):
                            if read.is_ended:
                                raise ReadEnded
                            yield plaintext
                            read.position += len(plaintext)
                            is_first = False
                except (PieceMissing, BackendError, CryptoError, SpoolFailed) as error:
                    if found is not None and found.copy is not None and found.others:
                        failed.add(found.copy.blob_key)
                        await self._call_for_repair(found.copy, error)
                        continue
                    if not isinstance(error, PieceMissing | BackendError):
                        raise Unreadable(f"the recording's bytes at rest are damaged: {error}") from error
                    # It may just have been placed, and its pieces removed: then it lies elsewhere now.
                    has_moved = read.position > reached
                    attempts_without_progress = 0 if has_moved else attempts_without_progress + 1
                    if attempts_without_progress > 2:
                        raise Unreadable(
                            "the recording's bytes cannot be read where they should lie"
                        ) from error
                    log.info("playback.moved", recording=str(recording.id))

    async def _send(
        self, stretch: Stretch, key: Secret, preamble: bytes, outlet: Outlet, read: Read, end: int
    ) -> bool:
        """
        Send the recording up to *end* from its file; False if something is left, because there is no file or it can't be read.

        Raises:
            CryptoError: it is damaged.
            ReadEnded: it was erased meanwhile.
            ConnectionError: the listener is gone.
        """
        if stretch.near is None:
            return False
        async with stretch.near.opened() as file:
            if file is None:
                return False
            opener = await opener_of(stretch, key, preamble, heads=self._heads)
            long = LongStretch(file, opener, read, end=end, size=stretch.length)
            try:
                await self._senders.send(long, outlet)
            except ConnectionError:
                raise
            except OSError:
                return False
        if read.is_ended:
            raise ReadEnded
        return True

    async def _locate(self, recording: RecordingRow, failed: set[str]) -> _Bytes:
        """
        Return where the recording's bytes lie now, nearest first, without the copies that *failed*.
        """
        view = await self._views.view(recording.id)
        current, pieces = view.recording, view.pieces
        if current is None or not current.is_live:
            raise ReadEnded
        placed = [p for p in view.placements if p.state == "placed"]
        copies = sorted(
            (p for p in placed if p.blob_key not in failed),
            key=lambda p: (p.backend != HOME, placed.index(p)),
        )
        if copies:
            near = self._places.near(copies[0].backend)
            whole = Stretch(
                PlacedBlob(self._places, copies[0]),
                0,
                recording.size,
                is_ended=True,
                commitment=current.commitment,
                blob_key=copies[0].blob_key,
                near=None if near is None else near.blob(ref_of(copies[0])),
            )
            return _Bytes([whole], copies[0], len(copies) - 1)
        if sum(piece.length for piece in pieces) != recording.size:
            raise PieceMissing("the spool holds fewer bytes than the recording has")
        stretches = [
            Stretch(
                SpooledBlob(self._spool, recording.id, piece.fence), piece.start, piece.length, piece.is_ended
            )
            for piece in pieces
        ]
        return _Bytes(stretches, None, 0)

    async def _call_for_repair(self, copy: Placement, error: Exception) -> None:
        """
        Leave it to a job to look at every copy, and to mend what is not whole.
        """
        log.warning(
            "playback.fell_over",
            recording=str(copy.recording_id),
            place=copy.backend,
            error=type(error).__name__,
        )
        async with self._catalog.write() as connection:
            await enqueue_job(connection, "check", str(copy.recording_id))
        self._bell.ring()


def _first_stop(start: int, end: int) -> int:
    """
    Return where the first slab ends, if a thread sends what follows it: at a chunk's end, for it begins there.
    """
    return min(end, (start // CHUNK_SIZE + _FIRST_CHUNKS) * CHUNK_SIZE)
