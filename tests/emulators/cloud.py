"""
What every pretend cloud has, beside what every emulator has: accounts, stored files, faults in the bodies of requests.
"""

import hashlib
import itertools
import secrets
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.emulators.emulator import FAULT, PIECE, EmulatedClock, Emulator
from tests.emulators.faults import Effect


class Content:
    """
    Bytes in a file, for a pretend cloud must not need more memory than the program it is there to test.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(12)
        self.path.touch()

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def append(self, piece: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(piece)

    def truncate(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """
        Yield the bytes from *start* up to *end*.
        """
        left = (self.size if end is None else end) - start
        with self.path.open("rb") as file:
            file.seek(start)
            while left > 0 and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                yield piece

    def read(self) -> bytes:
        return self.path.read_bytes()

    def digest(self, algorithm: str) -> str:
        """
        Return a hash of all bytes, in hex.
        """
        running = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self.pieces():
            running.update(piece)
        return running.hexdigest()

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


@dataclass
class Account:
    """
    One person's account at a provider.
    """

    subject: str
    email: str
    name: str
    quota: int | None = 15 << 30
    """Bytes; None where there is no limit. Lower it to fill the account."""
    is_email_verified: bool = True
    facts: dict[str, str] = field(default_factory=dict)
    """What else this provider knows of its owner."""
    files: dict[str, "StoredFile"] = field(default_factory=dict)
    """By the provider's own id."""
    trash: dict[str, "StoredFile"] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(stored.content.size for stored in self.files.values())

    def has_room_for(self, size: int) -> bool:
        return self.quota is None or self.used + size <= self.quota


@dataclass
class StoredFile:
    """
    A finished file.
    """

    id: str
    name: str
    content: Content
    created_at: float
    extra: dict[str, Any] = field(default_factory=dict)
    """What else the provider keeps of it."""


class Cloud(Emulator):
    """
    A provider's cloud on a loopback port; enter it to start it.

    Attributes:
        kind: the plugin's name.
        upload_bytes: all bytes of bodies that came in for files, also of requests that then failed.
        listing_lag_s: how long a listing goes on showing what was, by `clock`.
    """

    def __init__(
        self, *, port: int = 0, clock: EmulatedClock | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(port=port, clock=clock, tls=tls)
        self.accounts: dict[str, Account] = {}
        self.upload_bytes = 0
        self.listing_lag_s = 0.0
        self._numbers = itertools.count(1)
        self._folder = Path(tempfile.mkdtemp(prefix=f"cloud-{self.kind}-"))

    # For tests

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_account(self, name: str = "Ada", *, quota: int | None = 15 << 30) -> Account:
        """
        Open an account.
        """
        number = next(self._numbers)
        account = Account(f"{self.kind}-{number}", f"{name.lower()}{number}@example.org", name, quota)
        self.accounts[account.subject] = account
        return account

    def new_content(self) -> Content:
        """
        Return an empty file's content.
        """
        return Content(self._folder)

    def damage(self, account: Account, name: str) -> None:
        """
        Flip the first byte of the file of that name, as a failing disk at the provider would.
        """
        stored = self.named(account, name)
        content = bytearray(stored.content.read())
        content[0] ^= 0xFF
        stored.content.path.write_bytes(content)

    def delete_by_hand(self, account: Account, name: str) -> None:
        """
        Delete the file of that name for good, as its owner would in his own cloud.
        """
        self.remove(account, self.named(account, name))

    def remove(self, account: Account, stored: StoredFile) -> None:
        """
        Remove a file for good; emulators that keep more of it than the account does forget that too.
        """
        del account.files[stored.id]
        stored.content.drop()

    def named(self, account: Account, name: str) -> StoredFile:
        """
        Return the file of that name; emulators with suffixes or folders find it by its last part.
        """
        [found] = [stored for stored in account.files.values() if stored.name == name]
        return found

    # For endpoints

    async def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """
        Yield the request's body, or as much of it as the fault that is due lets arrive.
        """
        fault = request.get(FAULT)
        left: int | None = None
        if fault is not None and fault.effect in {Effect.TAKE_LESS, Effect.CUT_IN_BODY}:
            left = fault.amount
        async for piece in request.content.iter_chunked(PIECE):
            self.received(piece)
            if left is None:
                yield piece
            elif left:
                yield piece[:left]
                left -= len(piece[:left])

    def is_cut_in_body(self, request: web.Request) -> bool:
        """
        Whether the request breaks off in its body, so that a provider that takes all or nothing takes nothing.
        """
        fault = request.get(FAULT)
        return fault is not None and fault.effect is Effect.CUT_IN_BODY

    def received(self, piece: bytes) -> None:
        self.upload_bytes += len(piece)
