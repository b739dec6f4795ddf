"""
The clouds that users can link.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.emulators.cloud import Cloud
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.gdrive import DriveEmulator
from tests.emulators.onedrive import GraphEmulator
from tests.emulators.s3_front import S3Front
from tests.http.conftest import logs
from tests.support.seaweedfs import SeaweedFS, running_seaweedfs

__all__ = ["logs"]

KINDS = ["gdrive", "onedrive", "dropbox", "s3"]


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    with running_seaweedfs() as store:
        yield store


@pytest.fixture
def new_cloud(request: pytest.FixtureRequest) -> Callable[[str], Cloud]:
    """
    Makes a cloud of a kind; it is not started yet.
    """

    def make(kind: str) -> Cloud:
        if kind == "s3":
            return S3Front(request.getfixturevalue("seaweedfs"))
        made: dict[str, Callable[[], Cloud]] = {
            "gdrive": DriveEmulator,
            "onedrive": GraphEmulator,
            "dropbox": DropboxEmulator,
        }
        return made[kind]()

    return make
