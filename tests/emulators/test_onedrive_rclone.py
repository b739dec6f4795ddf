"""
That the real rclone, which has met the real OneDrive, gets on with the pretend one.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.testing.sources import pattern
from tests.emulators.cloud import Account
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.onedrive import GraphEmulator
from tests.emulators.onedrive.transfers import GRID
from tests.emulators.rclone import Rclone

WIDE: Final = frozenset({"Files.ReadWrite", "User.Read", "offline_access"})
REDIRECT: Final = "http://127.0.0.1:9/back"


@pytest.fixture
def cloud() -> Iterator[GraphEmulator]:
    with GraphEmulator() as cloud:
        yield cloud


@pytest.fixture
def account(cloud: GraphEmulator) -> Account:
    return cloud.new_account()


@pytest.fixture(params=[False, True], ids=["personal", "business"])
def rclone(
    cloud: GraphEmulator, account: Account, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Rclone]:
    cloud.is_business = request.param
    _, refresh = cloud.oauth.grant(account, WIDE)
    drive = cloud.drive_of(account)
    token = {
        "access_token": "long gone",
        "token_type": "Bearer",
        "refresh_token": refresh,
        "expiry": "2020-01-01T00:00:00Z",
    }
    remote = {
        "type": "onedrive",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "token": json.dumps(token),
        "drive_id": drive.id,
        "drive_type": drive.type,
        "chunk_size": "320Ki",
    }
    home = tmp_path / "rclone"
    home.mkdir()
    hosts = dict.fromkeys(("graph.microsoft.com", "login.microsoftonline.com"), cloud.url)
    with Rclone(home, hosts) as rclone:
        rclone.configure("cloud", **remote)
        yield rclone


def test_rclone_copies_checks_reads_and_deletes(
    cloud: GraphEmulator, account: Account, rclone: Rclone, tmp_path: Path
) -> None:
    cloud.page_size = 2
    files = {
        "empty": b"",
        "small": pattern(10),
        "grid": pattern(2 * GRID),
        "more": pattern(3 * GRID + 12_345),
        "below/deep": pattern(GRID + 1),
    }
    for name, content in files.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    local = str(tmp_path / "files")
    rclone.run("copy", local, "cloud:calls", "--onedrive-upload-cutoff", "0")
    assert sorted(files.values()) == sorted(stored.content.read() for stored in account.files.values())
    # By the hashes that each side works out, and by the bytes.
    rclone.run("check", local, "cloud:calls")
    rclone.run("check", "--download", local, "cloud:calls")
    listed = json.loads(rclone.run("lsjson", "-R", "--files-only", "cloud:calls"))
    assert {name: len(content) for name, content in files.items()} == {
        entry["Path"]: entry["Size"] for entry in listed
    }
    part = rclone.run("cat", "--offset", "400000", "--count", "1000", "cloud:calls/more")
    assert files["more"][400_000:401_000] == part
    rclone.run("moveto", "cloud:calls/small", "cloud:calls/renamed")
    assert files["small"] == rclone.run("cat", "cloud:calls/renamed")
    rclone.run("deletefile", "cloud:calls/renamed")
    rclone.run("purge", "cloud:calls")
    assert {} == account.files
    assert len(files) == len(account.trash)
    told = json.loads(rclone.run("about", "--json", "cloud:"))
    assert sum(map(len, files.values())) == told["trashed"]


def test_rclone_deletes_for_good_where_that_can_be(
    cloud: GraphEmulator, account: Account, rclone: Rclone, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    rclone.run("copyto", str(tmp_path / "x"), "cloud:x")
    done = rclone.tried("deletefile", "cloud:x", "--onedrive-hard-delete")
    assert cloud.is_business == (done.returncode == 0)
    assert {} == account.trash
    assert cloud.is_business == (account.files == {})
