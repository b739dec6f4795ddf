"""
What the operator says about his Dropbox app.
"""

from dataclasses import dataclass, field
from typing import Final

API_ROOT: Final = "https://api.dropboxapi.com"
CONTENT_ROOT: Final = "https://content.dropboxapi.com"
WEB_ROOT: Final = "https://www.dropbox.com"

BLOCK_SIZE: Final = 4 << 20
"""What Dropbox's content hash is made of, and therefore what parts are multiples of."""

MAX_PART_SIZE: Final = 64 << 20
"""A part is held in memory, so it is kept below the 150 MiB that Dropbox would take in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropboxSettings:
    """
    Which app users link their accounts to, and how it is spoken for.

    The app is registered with access to an *app folder*: nothing else in an account can be seen or touched.
    """

    client_id: str
    """The app's key."""

    client_secret: str | None = field(default=None, repr=False)
    """The app's secret; None for an app that PKCE alone protects."""

    delete_recoverable_days: int | None = 30
    """
    For how many days users can bring a deleted file back, which is told on receipts; None says that nobody knows.

    30 on the plans for persons. Plans for teams keep deleted files for longer.
    """

    part_size: int = 8 << 20
    """Bytes of one part; a blob of at most that many is put in one request. Each put holds one part in memory."""

    connect_timeout_s: float = 10.0

    read_timeout_s: float = 60.0
    """How long Dropbox may be silent in the middle of a call."""

    max_concurrency: int = 4

    list_page_size: int = 1000

    api_root: str = API_ROOT
    """Where the API is spoken; another one than Dropbox's own for tests."""

    content_root: str = CONTENT_ROOT
    """Where bytes are sent to and fetched from."""

    web_root: str = WEB_ROOT
    """Where users are asked for their consent."""

    def __post_init__(self) -> None:
        if not self.client_id or self.client_secret == "":
            raise ValueError("client_id and client_secret must not be empty")
        for name in ("api_root", "content_root", "web_root"):
            root = getattr(self, name)
            if not root.startswith(("https://", "http://")) or root.endswith("/"):
                raise ValueError(f"{name} must begin with https:// or http:// and not end with a slash")
        if self.delete_recoverable_days is not None and self.delete_recoverable_days < 0:
            raise ValueError("delete_recoverable_days must not be below zero")
        if self.part_size % BLOCK_SIZE or not BLOCK_SIZE <= self.part_size <= MAX_PART_SIZE:
            raise ValueError(
                f"part_size must be a multiple of {BLOCK_SIZE} and at most {MAX_PART_SIZE}, not {self.part_size}"
            )
        if self.connect_timeout_s <= 0 or self.read_timeout_s <= 0:
            raise ValueError("connect_timeout_s and read_timeout_s must be above zero")
        if not 1 <= self.max_concurrency <= 64:
            raise ValueError(f"max_concurrency must be from 1 to 64, not {self.max_concurrency}")
        if not 1 <= self.list_page_size <= 2000:
            raise ValueError(f"list_page_size must be from 1 to 2000, not {self.list_page_size}")
