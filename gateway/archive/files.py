"""
The files that are the same in every archive.
"""

from importlib.resources import files
from typing import Final

_FOLDER: Final = files(__package__ or "gateway.archive") / "files"


def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


GUIDE: Final = _read("README.txt")
"""What lies in an archive, in words."""
STYLE: Final = _read("style.css")
OPENER: Final = _read("open_sealed.txt")
"""A Python program that opens the sealed recordings; a text here, for it belongs to no package."""
