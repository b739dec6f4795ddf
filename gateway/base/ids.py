"""
The gateway's identifiers, each a type of its own so that a checker tells them apart.
"""

import uuid
from typing import Final, NewType

KeySlot = NewType("KeySlot", int)
"""A user's place in the key tree: 0 to 2^32-1, never reused, never moved."""

LeafIndex = NewType("LeafIndex", int)
"""The number of a recording within its user: 0 to 2^32-1."""

Epoch = NewType("Epoch", int)
"""The generation of the key tree; one root key each."""

UserId = NewType("UserId", str)
"""A user's opaque id, a UUID as text."""

RecordingId = NewType("RecordingId", uuid.UUID)
"""A recording's id, which is its upload's id as well."""

USER_LEAF: Final = LeafIndex(2**32 - 1)
"""The leaf under which a user's own personal data is sealed; never handed to a recording."""

SERVICE_SLOT: Final = KeySlot(0)
"""The slot of the service itself: its signing key is a leaf there."""
