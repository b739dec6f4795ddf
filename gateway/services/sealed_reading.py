"""
Reading a recording's sealed blob as it lies in storage, any stretch of it: every chunk is opened before it goes out.

As with its sound, a copy that is damaged or out of reach is passed over in mid-stream.
"""

from collections.abc import AsyncIterator
from typing import Final

from gateway.api import BackendError
from gateway.base.secret import Secret
from gateway.catalog.placements import Placement
from gateway.catalog.recordings import RecordingRow
from gateway.crypto.chunked import MESSAGE_HEADER_SIZE, SEALED_CHUNK_SIZE
from gateway.crypto.errors import CryptoError, Truncated
from gateway.crypto.preamble import PREAMBLE_SIZE
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.blobs import PlacedBlob, audio_key, blob_size, identity_of
from gateway.services.errors import NotFound, Unreadable
from gateway.services.opening import Stretch, opener_of
from gateway.services.places import HOME, Places
from gateway.services.views import RecordingViews

_HEAD: Final = PREAMBLE_SIZE + MESSAGE_HEADER_SIZE
_SLAB_CHUNKS: Final = 16


class SealedReading:
    """
    Reads blobs.
    """

    def __init__(self, views: RecordingViews, keyring: Keyring, places: Places) -> None:
        self._views = views
        self._keyring = keyring
        self._places = places

    async def is_stored(self, recording: RecordingRow) -> bool:
        """
        Tell whether the recording has a blob at any place yet.
        """
        view = await self._views.view(recording.id)
        return any(placement.state == "placed" for placement in view.placements)

    async def read(self, recording: RecordingRow, *, start: int, length: int) -> AsyncIterator[bytes]:
        """
        Yield *length* bytes of the recording's blob from *start*.

        Raises:
            NotFound: it is erased.
            Unreadable: no copy of it can be read; the cause is what the last one said.
        """
        try:
            key = await audio_key(self._keyring, recording)
        except (LeafShredded, SlotShredded):
            raise NotFound("there is no such recording") from None
        position, end = start, start + length
        failed: set[str] = set()
        last: Exception | None = None
        while position < end:
            view = await self._views.view(recording.id)
            if view.recording is None or not view.recording.is_live:
                raise NotFound("there is no such recording")
            copies = [p for p in view.placements if p.state == "placed" and p.blob_key not in failed]
            copies.sort(key=lambda placement: placement.backend != HOME)
            if not copies:
                raise Unreadable("the recording's blob cannot be read where it should lie") from last
            try:
                async for sealed in self._read_copy(copies[0], view.recording, key, position, end):
                    yield sealed
                    position += len(sealed)
            except (BackendError, CryptoError) as error:
                failed.add(copies[0].blob_key)
                last = error

    async def _read_copy(
        self, copy: Placement, recording: RecordingRow, key: Secret, start: int, end: int
    ) -> AsyncIterator[bytes]:
        blob = PlacedBlob(self._places, copy)
        stretch = Stretch(blob, 0, recording.size, is_ended=True, commitment=recording.commitment)
        opener = await opener_of(stretch, key, identity_of(recording).to_bytes())
        if start < _HEAD:
            async with blob.read(0, _HEAD) as pieces:
                head = b"".join([piece async for piece in pieces])
            yield head[start : min(end, _HEAD)]
            start = _HEAD
        if start >= end:
            return
        size = blob_size(recording)
        chunk = (start - _HEAD) // SEALED_CHUNK_SIZE
        first = _HEAD + chunk * SEALED_CHUNK_SIZE
        last = min(size, _HEAD + -(-(end - _HEAD) // SEALED_CHUNK_SIZE) * SEALED_CHUNK_SIZE)
        pending = bytearray()
        at = first
        async with blob.read(first, last - first) as pieces:
            async for piece in pieces:
                pending += piece
                while at + len(pending) < last and len(pending) >= _SLAB_CHUNKS * SEALED_CHUNK_SIZE:
                    slab = bytes(pending[: _SLAB_CHUNKS * SEALED_CHUNK_SIZE])
                    del pending[: len(slab)]
                    opener.open_chunks(chunk, slab, ends_message=False)
                    yield slab[max(0, start - at) : end - at]
                    chunk += _SLAB_CHUNKS
                    at += len(slab)
        if at + len(pending) != last:
            raise Truncated(f"{last - at - len(pending)} bytes are missing")
        opener.open_chunks(chunk, bytes(pending), ends_message=last == size)
        yield bytes(pending[max(0, start - at) : end - at])
