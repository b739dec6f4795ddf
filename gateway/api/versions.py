"""
The version of the plugin contract, and the window of versions this gateway still serves.

The number rises when an older plugin could no longer be called, never for an added optional field.
Decision 0004 says how the contract grows.
"""

from typing import Final

API_VERSION: Final = 1
"""The version that this gateway's contract has; a plugin puts it into each `BackendKind`."""

SUPPORTED_API_VERSIONS: Final = range(1, API_VERSION + 1)
"""The versions a plugin may have been written for."""
