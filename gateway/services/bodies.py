"""
What a request brings to an upload: its body, piece by piece, and what it says about it.
"""

from dataclasses import dataclass
from typing import Protocol

from gateway.crypto.chunked import Buffer
from gateway.services.errors import LengthConflict, OffsetMismatch, TooLong
from gateway.spool import Source


class BodyCut(Exception):
    """
    The connection ended before the body did.
    """


class BodySource(Source, Protocol):
    """
    The rest of one request's bytes, for a thread to take.

    Attributes:
        missing: how many are still to come.
    """

    missing: int

    async def readable(self, *, idle_timeout_s: float) -> None:
        """
        Wait until there is something worth fetching, or nothing more will come.

        Fewer bytes than that are fetched some times within *idle_timeout_s*.
        """
        ...

    def hurry(self) -> None:
        """
        From now on have anything fetched.
        """
        ...

    def close(self) -> None:
        """
        Let go; nothing is taken any more.
        """
        ...


class Body(Protocol):
    """
    The bytes of one request.
    """

    async def source(self) -> BodySource | None:
        """
        Return what takes the rest of a long body; None where that can't be had. Asked for before anything is read.

        With a source `read` gives only what had come before.

        Raises:
            BodyCut: the sender has gone.
        """
        ...

    def at_once(self) -> bytes | None:
        """
        Return the bytes that have come, empty at the end; None where `read` is to be awaited for them.
        """
        ...

    async def read(self) -> bytes:
        """
        Return the next bytes, empty at the end.

        Raises:
            BodyCut: the sender has gone.
        """
        ...


class RunningHash(Protocol):
    """
    A hash that is fed.
    """

    def update(self, data: Buffer, /) -> None: ...
    def digest(self) -> bytes: ...


class BodyChecksum(Protocol):
    """
    What a body was promised to hash to.
    """

    def start(self) -> RunningHash: ...
    def matches(self, running: RunningHash, /) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """
    One request's wish to add bytes.

    Attributes:
        offset: where its bytes begin.
        body_length: how many there are, None if the request doesn't say.
        upload_length: the whole upload's length, where this request is the one that declares it.
        checksum: of this body; then the body counts wholly or not at all.
    """

    offset: int
    body: Body
    body_length: int | None
    upload_length: int | None = None
    checksum: BodyChecksum | None = None

    def checked(self, received: int, length: int | None, *, limit: int) -> int | None:
        """
        Check the request against an upload of *length* that has *received* bytes; return the length it newly declares.

        Args:
            limit: the most bytes that any upload may have.

        Raises:
            OffsetMismatch, LengthConflict, TooLong: it does not fit.
        """
        if self.offset != received:
            raise OffsetMismatch(offset=received, claimed=self.offset)
        declared = self.upload_length
        if declared is not None:
            if length is not None and length != declared:
                raise LengthConflict(f"the upload's length is {length} and stays so")
            check_length(declared, limit=limit)
            if declared < received:
                raise LengthConflict(f"the upload has {received} bytes already")
        end = length if length is not None else limit if declared is None else declared
        if self.body_length is not None and received + self.body_length > end:
            raise TooLong(f"with this body the upload would pass {end} bytes", limit=end)
        return declared if length is None else None


def check_length(length: int | None, *, limit: int) -> None:
    """
    Refuse a declared *length* beyond *limit*.

    Raises:
        TooLong: it is.
    """
    if length is not None and length > limit:
        raise TooLong(f"an upload may have {limit} bytes", limit=limit)
