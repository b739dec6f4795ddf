"""
A pretend Microsoft OneDrive.
"""

from tests.emulators.onedrive.graph import GraphEmulator

__all__ = ["GraphEmulator"]
