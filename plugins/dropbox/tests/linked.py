"""
An account of the pretend Dropbox that is linked, and a blob of several parts to put there.
"""

import hashlib
from contextlib import AsyncExitStack
from typing import Any, Final

from gateway_dropbox.backend import connect
from gateway_dropbox.settings import BLOCK_SIZE, DropboxSettings

from gateway.api import Backend, BlobKey, PutSession, ResumablePuts
from gateway.testing.sources import pattern
from tests.emulators.cloud import Account
from tests.emulators.dropbox import DropboxEmulator
from tests.support.lent import LentTokens, lent_context

PART: Final = BLOCK_SIZE
CONTENT: Final = pattern(2 * PART + 77)
SHA256: Final = hashlib.sha256(CONTENT).digest()


class Linked:
    """
    Connections to one account of the pretend Dropbox, one after the other, and the tokens they are lent.
    """

    def __init__(self, cloud: DropboxEmulator, account: Account, stack: AsyncExitStack) -> None:
        self.cloud = cloud
        self.account = account
        self.tokens = LentTokens(cloud, account, cloud.scopes())
        self._stack = stack

    async def connect(self, **changes: Any) -> Backend:
        settings = DropboxSettings(**self.cloud.settings(), part_size=PART, **changes)
        lent = lent_context(self.cloud, self.account, self.cloud.scopes(), lane=4, tokens=self.tokens)
        context = await self._stack.enter_async_context(lent)
        return await self._stack.enter_async_context(connect(context, settings))

    @property
    def secrets(self) -> set[str]:
        return {*self.tokens.handed_out, *self.cloud.sessions._sessions}


def puts_of(backend: Backend) -> ResumablePuts:
    assert backend.resumable is not None
    return backend.resumable


async def begun(backend: Backend, key: BlobKey) -> PutSession:
    return await puts_of(backend).begin(key, size=len(CONTENT), sha256=SHA256)


async def sent(backend: Backend, session: PutSession) -> PutSession:
    while session.offset < len(CONTENT):
        session = await puts_of(backend).append(session, CONTENT[session.offset : session.offset + PART])
    return session
