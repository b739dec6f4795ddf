"""
Range requests (RFC 9110, section 14): one range of bytes at a time.
"""

import re
from dataclasses import dataclass
from typing import Final

_ONE_RANGE: Final = re.compile(r"bytes\s*=\s*([0-9]{0,100})\s*-\s*([0-9]{0,100})\s*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """
    The range starts behind the end.
    """


@dataclass(frozen=True, slots=True)
class ByteRange:
    """
    *length* bytes from *start* of a content of *size* bytes.
    """

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """
        The value of ``Content-Range``.
        """
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """
    Return the range that *header* asks for, None where the whole is to be sent.

    A header of another unit, of several ranges, or malformed is ignored, as section 14.2 allows.

    Raises:
        Unsatisfiable: no byte of it lies within *size*.
    """
    match = None if header is None else _ONE_RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return ByteRange(size - length, length, size)
    start = int(first)
    end = size - 1 if not last else min(int(last), size - 1)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return ByteRange(start, end - start + 1, size)


def names_etag(header: str | None, etag: str) -> bool:
    """
    Tell whether an If-None-Match names *etag*.
    """
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags
