"""
What an operator may say about a folder of blobs.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """
    Where the blobs lie and how hard the disk may be worked.
    """

    root: Path
    """The folder; absolute. Its parent must be there."""

    create: bool = True
    """
    Whether to set the folder up if it has not been used before.

    Say false for a disk that is mounted, once it has been set up.
    Its bare mount point is then refused, instead of being taken for an empty store in which every blob is
    gone and every delete succeeds.
    """

    max_concurrency: int = 8
    """How many file calls run at once, each in a thread."""

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise ValueError(f"root must be an absolute path, not {self.root}")
        if not 1 <= self.max_concurrency <= 64:
            raise ValueError(f"max_concurrency must be from 1 to 64, not {self.max_concurrency}")
