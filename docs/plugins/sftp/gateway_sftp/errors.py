"""
What an error of the server, or of the way to it, means.
"""

from typing import Final

import asyncssh
from asyncssh import constants as ssh

from gateway.api import (
    BackendError,
    Conflict,
    Misconfigured,
    NotFound,
    QuotaExceeded,
    Transient,
    Unsupported,
)

FAILURE: Final = "SFTPFailure"
"""The provider's code of an error that may be anything."""

_BY_STATUS: Final[dict[int, type[BackendError]]] = {
    ssh.FX_NO_SUCH_FILE: NotFound,
    ssh.FX_NO_SUCH_PATH: Misconfigured,
    ssh.FX_NOT_A_DIRECTORY: Misconfigured,
    ssh.FX_PERMISSION_DENIED: Misconfigured,
    ssh.FX_WRITE_PROTECT: Misconfigured,
    ssh.FX_FILE_ALREADY_EXISTS: Conflict,
    ssh.FX_NO_SPACE_ON_FILESYSTEM: QuotaExceeded,
    ssh.FX_QUOTA_EXCEEDED: QuotaExceeded,
    ssh.FX_NO_CONNECTION: Transient,
    ssh.FX_CONNECTION_LOST: Transient,
    # Protocol 3, which OpenSSH speaks, says no more than that something failed; `client` looks at what it may be.
    ssh.FX_FAILURE: Transient,
    ssh.FX_OP_UNSUPPORTED: Unsupported,
}

_BY_REASON: Final[dict[int, type[BackendError]]] = {
    ssh.DISC_HOST_KEY_NOT_VERIFIABLE: Misconfigured,
    ssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE: Misconfigured,
    ssh.DISC_ILLEGAL_USER_NAME: Misconfigured,
    ssh.DISC_KEY_EXCHANGE_FAILED: Misconfigured,
    ssh.DISC_PROTOCOL_VERSION_NOT_SUPPORTED: Misconfigured,
    ssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT: Misconfigured,
}
"""Why a server, or we ourselves, ended the connection; for all other reasons another may last longer."""


def classify(exc: Exception) -> BackendError | None:
    """
    Say what an exception means that came out of a call to a server, or None if that is not known.
    """
    name = type(exc).__name__
    if isinstance(exc, asyncssh.SFTPError):
        meaning = _BY_STATUS.get(exc.code, BackendError)
        return meaning(f"The server refused: {exc.reason}", provider_code=name)
    if isinstance(exc, asyncssh.DisconnectError):
        meaning = _BY_REASON.get(exc.code, Transient)
        return meaning(f"The connection ended: {exc.reason}", provider_code=name)
    if isinstance(exc, asyncssh.ChannelOpenError):
        return Transient(f"The server opens no session: {exc.reason}", provider_code=name)
    if isinstance(exc, OSError):
        return Transient(f"The connection to the server failed: {name}.", provider_code=name)
    return None
