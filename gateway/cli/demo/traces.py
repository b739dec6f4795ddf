"""
Looking for traces of a plaintext in files: every file, every offset.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WINDOW: Final = 16
"""Bytes; 16 in a row that agree by chance are not to be expected in the lifetime of the universe."""

_FEWEST_VALUES: Final = 5
"""A window with fewer different bytes, zeros above all, says nothing: every file has such."""


@dataclass(frozen=True, slots=True)
class Trace:
    """
    Bytes of the plaintext in a file.
    """

    file: Path
    offset: int


class Windows:
    """
    All stretches of 16 bytes of a plaintext, at all its offsets.
    """

    def __init__(self, plaintext: bytes) -> None:
        every = (plaintext[start : start + WINDOW] for start in range(len(plaintext) - WINDOW + 1))
        self._telling = frozenset(window for window in every if len(set(window)) >= _FEWEST_VALUES)

    @property
    def count(self) -> int:
        """
        How many different ones there are, those that say nothing left out.
        """
        return len(self._telling)

    def offsets_in(self, content: bytes) -> Iterator[int]:
        """
        Give every offset of *content* at which one of them stands.
        """
        for start in range(len(content) - WINDOW + 1):
            if content[start : start + WINDOW] in self._telling:
                yield start

    def find_in(self, contents: Mapping[Path, bytes]) -> Trace | None:
        """
        Return the first place where one of them stands in any of the files, None if there is none.
        """
        for file, content in contents.items():
            offset = next(self.offsets_in(content), None)
            if offset is not None:
                return Trace(file, offset)
        return None


def find_words(words: Iterable[str], contents: Mapping[Path, bytes]) -> Trace | None:
    """
    Return the first place where one of *words* stands, as text or in base64, None if there is none.
    """
    for word in words:
        for spelling in (word.encode(), base64.b64encode(word.encode()).rstrip(b"=")):
            for file, content in contents.items():
                if (offset := content.find(spelling)) >= 0:
                    return Trace(file, offset)
    return None


def read_files(*places: Path) -> dict[Path, bytes]:
    """
    Return the content of every file at *places*, those in their folders included.
    """
    files = (file for place in places for file in sorted([place, *place.rglob("*")]) if file.is_file())
    return {file: file.read_bytes() for file in files}
