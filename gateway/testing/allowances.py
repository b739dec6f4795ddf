"""
Weaknesses that a suite lets a backend have, because a real provider has them.

Nothing is allowed unless the subclass says so, with the reason.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowances:
    """
    Each is allowed by the reason for it; an empty text allows nothing.
    """

    listing_lag: str = ""
    """
    A scan may go on showing what it did before a put or a delete, as `Traits.listing_lag` says.

    The suite then waits before each scan by `Suite.settle`.
    """

    small_data: str = ""
    """Blobs of megabytes would take too long or cost too much; the suite puts a sixteenth of that."""
