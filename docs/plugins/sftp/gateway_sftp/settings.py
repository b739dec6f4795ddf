"""
What an operator may say about a server.
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpSettings:
    """
    Which server it is, how it is known, and who logs in.
    """

    host: str

    username: str

    root: str
    """The folder on the server; absolute, and there already."""

    known_hosts: Path
    """
    A file with the server's public key, in OpenSSH's format.

    A server with another key, or one that the file does not name, is refused.
    """

    port: int = 22

    private_key: Path | None = None
    """A file with the key to log in with; or else the password."""

    password: str | None = field(default=None, repr=False)

    create: bool = True
    """
    Whether to set the folder up if it has not been used before.

    Say false once it has been, where it is on a disk that the server mounts:
    otherwise the bare mount point would be taken for an empty store, in which every blob is gone.
    """

    connect_timeout_s: float = 15.0

    keepalive_s: float = 15.0
    """A server that does not answer for three times as long is taken for gone."""

    part_size: int = 4 << 20
    """Bytes of one part of a put that can go on after a crash; each holds one part in memory."""

    max_concurrency: int = 4

    def __post_init__(self) -> None:
        if not self.host or not self.username:
            raise ValueError("host and username must not be empty")
        if not self.root.startswith("/"):
            raise ValueError(f"root must be an absolute path, not {self.root!r}")
        if (self.private_key is None) == (self.password is None):
            raise ValueError("either private_key or password must be given")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port must be from 1 to 65535, not {self.port}")
        if self.connect_timeout_s <= 0 or self.keepalive_s <= 0:
            raise ValueError("connect_timeout_s and keepalive_s must be above zero")
        if not 1 << 16 <= self.part_size <= 64 << 20:
            raise ValueError(f"part_size must be from 64 KiB to 64 MiB, not {self.part_size}")
        if not 1 <= self.max_concurrency <= 32:
            raise ValueError(f"max_concurrency must be from 1 to 32, not {self.max_concurrency}")
