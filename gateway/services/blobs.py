"""
A recording's whole sealed blob, wherever it lies: to be read by range, or to be stored somewhere else.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.api import BackendError, BlobKey, BlobRef, BlobSource, Span
from gateway.base.errors import GatewayError
from gateway.base.ids import RecordingId
from gateway.base.secret import Secret
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow
from gateway.crypto.chunked import sealed_size
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.preamble import PREAMBLE_SIZE, Preamble
from gateway.keyring import Keyring
from gateway.services.opening import SealedSource, verified_sha256
from gateway.services.places import Places
from gateway.spool import PieceMissing, Spool, SpoolFailed


class SourceFailed(GatewayError):
    """
    The copy that was to be copied cannot be read; the place that it was to go to has done nothing wrong.
    """

    code = "source-failed"


def blob_size(recording: RecordingRow) -> int:
    """
    Return the bytes of the recording's blob.
    """
    return PREAMBLE_SIZE + sealed_size(recording.size)


def identity_of(recording: RecordingRow) -> Preamble:
    """
    Return the preamble of the recording's blob.
    """
    return Preamble(recording.id, recording.key_slot, recording.leaf_index)


def ref_of(placement: Placement) -> BlobRef:
    """
    Return how its backend reaches the blob.
    """
    return BlobRef(BlobKey(placement.blob_key), placement.locator)


@dataclass(frozen=True, slots=True)
class PlacedBlob:
    """
    The blob of a placement, read through its backend.
    """

    places: Places
    placement: Placement

    @asynccontextmanager
    async def read(self, start: int, length: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with (
            self.places.at(self.placement.backend) as backend,
            backend.read(ref_of(self.placement), Span(start, length)) as pieces,
        ):
            yield pieces


@dataclass(frozen=True, slots=True)
class SpooledBlob:
    """
    A piece in the spool; the whole blob, where it is the only one.
    """

    spool: Spool
    recording_id: RecordingId
    fence: int

    def read(self, start: int, length: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.spool.read(self.recording_id, self.fence, start=start, length=length)


class BlobCopy:
    """
    A blob at one place, as the source for another: every chunk of it is opened before any of it goes out.

    What goes wrong with reading it is a `SourceFailed`, so that nobody blames the place that it goes to.
    """

    def __init__(self, blob: SealedSource, recording: RecordingRow, key: Secret) -> None:
        self._blob = blob
        self._recording = recording
        self._key = key
        self._sha256: bytes | None = None

    @property
    def size(self) -> int:
        return blob_size(self._recording)

    @property
    def path(self) -> Path | None:
        return None

    async def sha256(self) -> bytes:
        if self._sha256 is None:
            try:
                self._sha256 = await verified_sha256(
                    self._blob,
                    self._key,
                    identity_of(self._recording).to_bytes(),
                    size=self._recording.size,
                    commitment=self._recording.commitment,
                )
            except (BackendError, CryptoError, PieceMissing, SpoolFailed) as error:
                raise SourceFailed(f"the copy that is to be copied cannot be read: {error}") from error
        return self._sha256

    @asynccontextmanager
    async def open(self, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            try:
                pieces = await stack.enter_async_context(self._blob.read(start, self.size - start))
            except BackendError as error:
                raise SourceFailed(f"the copy that is to be copied cannot be read: {error}") from error
            yield self._told(pieces)

    async def _told(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield piece
        except BackendError as error:
            raise SourceFailed(f"the copy that is to be copied cannot be read: {error}") from error


async def audio_key(keyring: Keyring, recording: RecordingRow) -> Secret:
    """
    Derive the input key of the recording's messages.

    Raises:
        LeafShredded, SlotShredded: it is erased.
    """
    return subkey(await keyring.leaf(recording.key_slot, recording.leaf_index), "audio")


def _checked_by_mypy(copy: BlobCopy) -> BlobSource:
    return copy
