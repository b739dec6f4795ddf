"""
The files that pages refer to, held in memory and named by their content.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Self

_MEDIA_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """
    One file as it is sent.
    """

    content: bytes
    media_type: str


class Assets:
    """
    Everything below ``/static``.

    An address holds a hash of what it gives, so browsers may keep it for good and never have an old one.
    """

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._addresses: dict[str, str] = {}
        self._served: dict[str, Asset] = {}
        for name, content in contents.items():
            stem, _, ending = name.rpartition(".")
            served = f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
            self._addresses[name] = f"/static/{served}"
            self._served[served] = Asset(content, _MEDIA_TYPES[ending])

    @classmethod
    def load(cls) -> Self:
        """
        Return the files that this package brings.
        """
        folder = files(__package__).joinpath("static")
        return cls({file.name: file.read_bytes() for file in folder.iterdir()})

    def address(self, name: str) -> str:
        """
        Return where a page finds the file *name*.
        """
        return self._addresses[name]

    def has(self, name: str) -> bool:
        """
        Tell whether there is a file *name*: scripts are built, and may not have been.
        """
        return name in self._addresses

    def get(self, served: str) -> Asset | None:
        """
        Return what is served under the last part of an address, None if nothing is.
        """
        return self._served.get(served)
