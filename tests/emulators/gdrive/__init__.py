"""
A pretend Google Drive.
"""

from tests.emulators.gdrive.cloud import DriveEmulator
from tests.emulators.gdrive.oauth import DRIVE_FILE

__all__ = ["DRIVE_FILE", "DriveEmulator"]
