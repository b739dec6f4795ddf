"""
What may be said about a bucket.
"""

import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Final, Literal

MIN_PART_SIZE: Final = 5 << 20
"""The least bytes of a part that is not the last one."""

MAX_PARTS: Final = 10_000
"""How many parts an object may have."""

MAX_PART_SIZE: Final = 64 << 20
"""A part is held in memory, so it is kept far below what stores would take."""

_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")

_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """
    Where the bucket is, who may write to it, and how.
    """

    bucket: str

    access_key_id: str = field(repr=False)

    secret_access_key: str = field(repr=False)

    endpoint: str | None = None
    """The store's URL; None for Amazon's own, by its region."""

    region: str = "us-east-1"

    prefix: str = ""
    """What the name of every object begins with, such as ``recordings/``."""

    path_style: bool = True
    """
    Whether the bucket stands in the URL's path instead of the host's name.

    Most stores that are not Amazon's need it; where there is no endpoint, the store's own way is used.
    """

    part_size: int = 8 << 20
    """
    Bytes of one part; a blob of at most that many is put in one request.

    Each put holds one part in memory, and while it is sent the HTTP library a copy of it.
    """

    conditional_puts: bool = True
    """
    Whether to ask for create-only with ``If-None-Match``.

    Say false for a store that refuses the header.
    Then, as on a store that ignores it, a taken key is found by looking first, and two puts at the same moment could
    both succeed, unless they go through one connection. The same goes for Swift where the bucket keeps versions.
    """

    checksums: Literal["md5", "sha256"] | None = None
    """
    Which hash each object and each part is sent with, for the store to check and to keep.

    ``sha256`` adds ``x-amz-checksum-sha256`` to the MD5; the store must also list it for the parts of an upload.
    None: that at Amazon's own, and the MD5 alone elsewhere, for many stores ignore the other, refuse it or do not list it.
    """

    purge_versions: bool = True
    """
    Whether a delete lists the blob's versions and removes each of them and of their markers.

    Say false only for a bucket that has never been versioned and a key that may not list versions.
    """

    delete_recoverable_hours: float = 0.0
    """
    How long the store itself may still hold what was deleted with all its versions.

    Some do: Swift removes the parts of a large object when its expirer comes round.
    """

    listing_lag_s: float = 0.0
    """How long the store's listings may go on showing what was before; some clusters' do."""

    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """What the store is asked to encrypt objects with; None leaves it to the bucket."""

    kms_key_id: str | None = None

    connect_timeout_s: float = 10.0

    read_timeout_s: float = 60.0
    """How long the store may be silent in the middle of a call."""

    max_concurrency: int = 8

    list_page_size: int = 1000

    def __post_init__(self) -> None:
        if self.endpoint is not None and not self.endpoint.startswith(("https://", "http://")):
            raise ValueError("endpoint must be a URL that begins with https:// or http://")
        if _REGION.fullmatch(self.region) is None:
            raise ValueError(f"region must be letters, digits and hyphens, not {self.region!r}")
        if _BUCKET.fullmatch(self.bucket) is None:
            raise ValueError(f"bucket is not the name of a bucket: {self.bucket!r}")
        if self.prefix.startswith("/") or len(self.prefix) > 512:
            raise ValueError("prefix must not begin with a slash or be longer than 512 characters")
        if not self.access_key_id or not self.secret_access_key:
            raise ValueError("access_key_id and secret_access_key must not be empty")
        if not MIN_PART_SIZE <= self.part_size <= MAX_PART_SIZE:
            raise ValueError(
                f"part_size must be from {MIN_PART_SIZE} to {MAX_PART_SIZE}, not {self.part_size}"
            )
        if self.kms_key_id is not None and self.encryption in {None, "AES256"}:
            raise ValueError("kms_key_id needs an encryption of aws:kms or aws:kms:dsse")
        if self.connect_timeout_s <= 0 or self.read_timeout_s <= 0:
            raise ValueError("connect_timeout_s and read_timeout_s must be above zero")
        if self.delete_recoverable_hours < 0 or self.listing_lag_s < 0:
            raise ValueError("delete_recoverable_hours and listing_lag_s must not be below zero")
        if not 1 <= self.max_concurrency <= 64:
            raise ValueError(f"max_concurrency must be from 1 to 64, not {self.max_concurrency}")
        if not 1 <= self.list_page_size <= 1000:
            raise ValueError(f"list_page_size must be from 1 to 1000, not {self.list_page_size}")

    @property
    def sends_sha256(self) -> bool:
        """
        Whether a SHA-256 goes with what is sent.
        """
        if self.checksums is not None:
            return self.checksums == "sha256"
        host = None if self.endpoint is None else urllib.parse.urlsplit(self.endpoint).hostname
        return self.endpoint is None or (host is not None and host.endswith(_AMAZON))
