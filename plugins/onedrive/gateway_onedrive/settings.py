"""
What an operator says of his app at Microsoft, and of how it is used.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

GRID: Final = 320 << 10
"""Every part of an upload but its last ends at a multiple of this many bytes."""

MAX_PART_SIZE: Final = 60 << 20
"""OneDrive takes no more than this in one request."""

SIMPLE_PUT_SIZE: Final = 4 << 20
"""Every OneDrive takes files of so many bytes in one request; newer ones take more."""

MAX_BLOB_SIZE: Final = 250 * 10**9

_TENANT: Final = re.compile(r"[A-Za-z0-9.-]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneDriveSettings:
    """
    The app that users give access to, and where Microsoft is spoken to.
    """

    client_id: str

    client_secret: str = field(repr=False)

    tenant: str = "common"
    """
    Whose accounts may be linked: ``common`` for personal and work accounts, ``consumers``, ``organizations``,
    or the id of one organisation.
    """

    scope: Literal["Files.ReadWrite.AppFolder", "Files.ReadWrite"] = "Files.ReadWrite.AppFolder"
    """
    What users are asked to grant.

    The app's own folder is enough; the wider one lets the gateway see all of a user's files, and it looks at none.
    Some accounts refuse the narrow one until they have granted the wider one once; then users are asked again.
    """

    permanent_delete: bool = True
    """
    Whether files in work accounts are deleted past the recycle bin.

    Say false where an organisation forbids that; then the bytes, sealed as they are, stay there for as long as it says.
    Personal accounts have no such thing, whatever is said here.
    """

    part_size: int = 32 * GRID
    """Bytes of one part, a multiple of 320 KiB. Each put holds one part in memory."""

    max_concurrency: int = 4

    list_page_size: int = 1000

    login_url: str = "https://login.microsoftonline.com"
    """Another one for a national cloud, or a test."""

    graph_url: str = "https://graph.microsoft.com/v1.0"

    connect_timeout_s: float = 10.0
    """How long it may take to reach the sign-in; storage is spoken to by the gateway's own rules."""

    read_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret must not be empty")
        if _TENANT.fullmatch(self.tenant) is None:
            raise ValueError(f"tenant must be a word, a domain or an id, not {self.tenant!r}")
        for name in ("login_url", "graph_url"):
            url = getattr(self, name)
            if not url.startswith(("https://", "http://")) or url.endswith("/"):
                raise ValueError(f"{name} must be a URL that begins with https:// and ends without a slash")
        if not GRID <= self.part_size <= MAX_PART_SIZE or self.part_size % GRID:
            raise ValueError(f"part_size must be a multiple of {GRID} up to {MAX_PART_SIZE}")
        if not 1 <= self.max_concurrency <= 64:
            raise ValueError(f"max_concurrency must be from 1 to 64, not {self.max_concurrency}")
        if not 1 <= self.list_page_size <= 1000:
            raise ValueError(f"list_page_size must be from 1 to 1000, not {self.list_page_size}")
        if self.connect_timeout_s <= 0 or self.read_timeout_s <= 0:
            raise ValueError("connect_timeout_s and read_timeout_s must be above zero")
