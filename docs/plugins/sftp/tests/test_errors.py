"""
What each answer of a server means to the host.
"""

import asyncssh
from asyncssh import constants as ssh
from gateway_sftp.errors import classify

from gateway.api import Conflict, Misconfigured, NotFound, QuotaExceeded, Transient, Unsupported
from gateway.testing.errors import ErrorTable, Row


class TestErrors(ErrorTable):
    classify = staticmethod(classify)
    rows = (
        Row(asyncssh.SFTPNoSuchFile("no such file"), NotFound, code="SFTPNoSuchFile"),
        Row(asyncssh.SFTPNoSuchPath("no such path"), Misconfigured),
        Row(asyncssh.SFTPPermissionDenied("permission denied"), Misconfigured),
        Row(asyncssh.SFTPWriteProtect("read-only"), Misconfigured),
        Row(asyncssh.SFTPFileAlreadyExists("exists"), Conflict),
        Row(asyncssh.SFTPNoSpaceOnFilesystem("no space left"), QuotaExceeded),
        Row(asyncssh.SFTPQuotaExceeded("disk quota exceeded"), QuotaExceeded),
        Row(asyncssh.SFTPFailure("failure"), Transient, code="SFTPFailure"),
        Row(asyncssh.SFTPNoConnection("not open"), Transient),
        Row(asyncssh.SFTPConnectionLost("lost"), Transient),
        Row(asyncssh.SFTPOpUnsupported("not supported"), Unsupported),
        Row(asyncssh.HostKeyNotVerifiable("not trusted"), Misconfigured),
        Row(asyncssh.PermissionDenied("permission denied"), Misconfigured),
        Row(asyncssh.KeyExchangeFailed("no common algorithm"), Misconfigured),
        Row(asyncssh.ConnectionLost("lost"), Transient),
        Row(asyncssh.ProtocolError("garbled"), Transient),
        Row(asyncssh.DisconnectError(ssh.DISC_TOO_MANY_CONNECTIONS, "too many"), Transient),
        Row(asyncssh.ChannelOpenError(ssh.OPEN_RESOURCE_SHORTAGE, "no more sessions"), Transient),
        Row(ConnectionRefusedError("refused"), Transient),
        Row(TimeoutError(), Transient),
        Row(KeyError("a bug"), None),
    )
