"""
A pretend Dropbox.
"""

from tests.emulators.dropbox.cloud import DropboxEmulator

__all__ = ["DropboxEmulator"]
