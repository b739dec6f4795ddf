"""
What the operator says about Google Drive: his registration there, and how to speak to it.
"""

from dataclasses import dataclass, field
from typing import Final

GRID: Final = 256 << 10
"""Every part of an upload but the last is a multiple of this many bytes."""

MAX_PART_SIZE: Final = 64 << 20
"""A part is held in memory, so it is kept far below what Google would take."""

MAX_WHOLE: Final = 5_000_000
"""Bytes of the largest file that Google wants to have in one request."""

MAX_FILE_SIZE: Final = 5_497_558_138_880
"""Bytes of the largest file that Drive takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GDriveSettings:
    """
    The OAuth client that users grant access to, the folder, and where the servers are.
    """

    client_id: str

    client_secret: str = field(repr=False)

    folder: str = "Call recordings (sealed)"
    """
    The name of the folder for the blobs, at the top of the user's Drive.

    It is looked for by name; the user may move it, but not rename it.
    """

    revoke_on_unlink: bool = False
    """
    Whether unlinking an account also ends the grant at Google.

    That ends all that the user granted to the same Google Cloud project, sign-in included.
    Say true only where the project does nothing else.
    """

    api_url: str = "https://www.googleapis.com/"
    """The root of the API; like the other URLs it is Google's own unless somebody stands in for it, who may speak plain http."""

    authorize_url: str = "https://accounts.google.com/o/oauth2/v2/auth"

    token_url: str = "https://oauth2.googleapis.com/token"

    revoke_url: str = "https://oauth2.googleapis.com/revoke"

    manage_url: str = "https://myaccount.google.com/connections"
    """Where a user ends the grant himself."""

    part_size: int = 8 << 20
    """Bytes of one part. Each put holds one part in memory; blobs of one part and at most 5 MB go in one request."""

    listing_lag_s: float = 300.0
    """How long a search by name may show what was; Google promises nothing, and ids are always up to date."""

    timeout_s: float = 60.0
    """How long connecting may take, and how long Google may be silent in the middle of a call."""

    max_concurrency: int = 4

    list_page_size: int = 1000

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret must not be empty")
        if not self.folder.strip() or len(self.folder) > 200:
            raise ValueError("folder must be a name of at most 200 characters")
        for name in ("api_url", "authorize_url", "token_url", "revoke_url", "manage_url"):
            if not getattr(self, name).startswith(("https://", "http://")):
                raise ValueError(f"{name} must be a URL that begins with https:// or http://")
        if not self.api_url.endswith("/"):
            raise ValueError("api_url must end with a slash")
        if not GRID <= self.part_size <= MAX_PART_SIZE or self.part_size % GRID:
            raise ValueError(
                f"part_size must be a multiple of {GRID} up to {MAX_PART_SIZE}, not {self.part_size}"
            )
        if self.listing_lag_s < 0:
            raise ValueError("listing_lag_s must not be negative")
        if self.timeout_s <= 0:
            raise ValueError("timeout_s must be above zero")
        if not 1 <= self.max_concurrency <= 64:
            raise ValueError(f"max_concurrency must be from 1 to 64, not {self.max_concurrency}")
        if not 1 <= self.list_page_size <= 1000:
            raise ValueError(f"list_page_size must be from 1 to 1000, not {self.list_page_size}")
