"""
Puts in parts, which go on after a crash of either side.

The host keeps a `PutSession` in its catalog after `ResumablePuts.begin` and after every part,
and hands it to a new connection when it goes on; all that a plugin needs to continue lies in its token.
"""

from dataclasses import dataclass
from typing import Protocol

from gateway.api.blobs import BlobKey, BlobRef


@dataclass(frozen=True, slots=True)
class PutSession:
    """
    A put that has begun and is not committed.
    """

    token: str
    """
    Opaque text of at most 16 KiB, which a new connection can continue from.

    It may hold what authorises writes (an upload URL), so the host keeps it sealed and never logs it.
    """

    offset: int
    """Bytes of the blob that the provider has for certain; the next part begins here."""


class ResumablePuts(Protocol):
    """
    What a backend offers whose provider takes a blob in parts.

    Sessions of different blobs are independent of one another.
    One session is used by one task at a time; the host sees to that.
    Each method raises `SessionLost` where the provider does not know the session any more: it expired, it was aborted,
    or it was committed and the answer lost. The host then looks for the blob with `Backend.find` before it begins anew.
    """

    @property
    def part_multiple(self) -> int:
        """
        Every part but the last has a length that is a multiple of this many bytes.
        """
        ...

    @property
    def max_part_size(self) -> int:
        """
        The most bytes of one part, a multiple of `part_multiple`; the host holds one part of each session in memory.
        """
        ...

    async def begin(self, key: BlobKey, *, size: int, sha256: bytes) -> PutSession:
        """
        Begin to put a blob of *size* bytes (at least one), with that SHA-256; nothing is visible under *key* yet.

        Whether the key is taken may be found out here or at the commit.

        Raises:
            Conflict: the key is taken.
            QuotaExceeded: there is no room, where the provider says so beforehand.
        """
        ...

    async def resume(self, session: PutSession) -> PutSession:
        """
        Ask the provider how far the put has come; return the session with that offset.

        The offset may lie behind or before the one that was kept; all bytes may be there.
        Called once when going on after a crash or after an unclear answer.
        """
        ...

    async def append(self, session: PutSession, part: bytes) -> PutSession:
        """
        Send *part*, the bytes from ``session.offset``; return the session as it is now.

        The provider may have taken less than was sent: the new offset says how far it got.
        An unclear answer raises `Transient`; the host then calls `resume`.
        """
        ...

    async def commit(self, session: PutSession) -> BlobRef:
        """
        Make the blob visible, all its bytes being there; return how to reach it.

        Durable on return, and compared with the provider's hash where there is one.

        Raises:
            Conflict: the key is taken.
            IntegrityMismatch: the provider has other bytes than were sent; nothing is visible under the key.
        """
        ...

    async def abort(self, session: PutSession) -> None:
        """
        Forget the put; what was sent is dropped where the provider lets. Succeeds for a session that is not known.
        """
        ...
