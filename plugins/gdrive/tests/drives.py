"""
What the tests of puts share: blobs of both sorts, and ways to send and to look.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from gateway_gdrive.backend import DriveBackend

from gateway.api import BlobKey, PutSession, ResumablePuts
from gateway.testing.conformance import PIECE
from gateway.testing.sources import pattern
from tests.emulators.cloud import Account
from tests.emulators.gdrive import DriveEmulator
from tests.emulators.gdrive.drive import FOLDER

Connected = Callable[..., AbstractAsyncContextManager[DriveBackend]]

SMALL = pattern(70_000)
"""Goes in one request."""

LARGE = pattern(3 * PIECE + 17)
"""Goes in four parts."""


async def begun(puts: ResumablePuts, key: BlobKey, content: bytes = LARGE) -> PutSession:
    """
    Begin to put *content*.
    """
    return await puts.begin(key, size=len(content), sha256=hashlib.sha256(content).digest())


async def sent(puts: ResumablePuts, session: PutSession, *, until: int = len(LARGE)) -> PutSession:
    """
    Send `LARGE` from where the session stands, up to byte *until*.
    """
    while session.offset < until:
        session = await puts.append(session, LARGE[session.offset : min(session.offset + PIECE, until)])
    return session


def is_alone(cloud: DriveEmulator, account: Account, key: BlobKey, content: bytes) -> bool:
    """
    Whether that blob, whole, and the folder are all that there is.
    """
    others = [stored.name for stored in account.files.values() if stored.extra["mimeType"] != FOLDER]
    return others == [key] and cloud.blob_bytes(account, key) == content


def folders(account: Account) -> list[str]:
    """
    Return the names of all folders.
    """
    return [stored.name for stored in account.files.values() if stored.extra["mimeType"] == FOLDER]
