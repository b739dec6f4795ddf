"""
What the keyring is asked to shred, and how it tells what it shredded.
"""

from dataclasses import dataclass
from typing import Literal

from gateway.base.ids import SERVICE_SLOT, USER_LEAF, Epoch, KeySlot, LeafIndex

SubjectKind = Literal["recording", "recordings", "export", "account", "service-key"]


@dataclass(frozen=True, slots=True)
class PurgeState:
    """
    How far a blob's removal has come at one backend.
    """

    backend: str
    state: Literal["pending", "purged", "recoverable-until", "left"]
    at_ms: int | None
    """
    When it was purged, until when the backend may still bring it back, or when it was given up; None while pending.

    None for recoverable-until where nobody knows until when.
    """


@dataclass(frozen=True, slots=True)
class ShredRequest:
    """
    One subject whose keys are to be gone for good.

    A recording, the recordings that expired together, or an export, is the leaves *first* to *last* of its user's slot, both included.
    An account is its whole slot, with neither.
    A key of the service's own is one leaf of slot 0.
    """

    subject_id: str
    """The recording's, export's or user's id, or a service key's purpose. Asked for again, it gives its first receipt."""
    kind: SubjectKind
    slot: KeySlot
    first: LeafIndex | None
    last: LeafIndex | None
    revoked_at_ms: int
    """When the catalog's tombstone committed."""
    subject_hash: bytes
    """SHA-256(salt ‖ subject id); the salt is the user's, so the receipt names nothing to anybody else."""
    commitment: bytes | None
    """The key commitment of the blob; None where there is no one blob."""
    placements: tuple[PurgeState, ...] = ()

    def __post_init__(self) -> None:
        if not self.subject_id:
            raise ValueError("a subject has an id")
        if not SERVICE_SLOT <= self.slot < 2**32 or (self.slot == SERVICE_SLOT) != (
            self.kind == "service-key"
        ):
            raise ValueError("a subject lies in a user's slot, 1 to 2^32-1, a service key in slot 0")
        if len(self.subject_hash) != 32:
            raise ValueError("a subject's hash has 32 bytes")
        if self.kind == "account":
            if self.first is not None or self.last is not None:
                raise ValueError("an account is its whole slot, without a range")
        elif self.first is None or self.last is None or not 0 <= self.first <= self.last < USER_LEAF:
            raise ValueError("a recording is a range of leaves, first to last, below the user's own leaf")
        elif self.kind == "service-key" and self.first != self.last:
            raise ValueError("a service key is one leaf")


@dataclass(frozen=True, slots=True)
class ShreddedEntry:
    """
    A line of the shredding log: what is done, for the catalog to follow.
    """

    sequence: int
    """The number of its receipt; a later entry has a higher one."""
    subject_id: str
    kind: SubjectKind
    slot: KeySlot
    first: LeafIndex | None
    last: LeafIndex | None
    epoch: Epoch
    """The first epoch whose tree does not lead to it."""
