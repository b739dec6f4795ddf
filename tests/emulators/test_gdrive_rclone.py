"""
That rclone, which has met the real Google Drive, gets on with the pretend one.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.gdrive import DriveEmulator
from tests.emulators.oauth import CLIENT_ID, CLIENT_SECRET
from tests.emulators.rclone import Rclone


@pytest.fixture
def cloud() -> Iterator[DriveEmulator]:
    with DriveEmulator() as cloud:
        yield cloud


@pytest.fixture
def rclone(cloud: DriveEmulator, tmp_path: Path) -> Iterator[Rclone]:
    account = cloud.new_account()
    access, refresh = cloud.oauth.grant(account, cloud.scopes())
    # It has run out, so that the first thing rclone does is to refresh it.
    token = {
        "access_token": access,
        "token_type": "Bearer",
        "refresh_token": refresh,
        "expiry": "2020-01-01T00:00:00Z",
    }
    hosts = {"www.googleapis.com": cloud.url, "oauth2.googleapis.com": cloud.url}
    home = tmp_path / "rclone"
    home.mkdir()
    with Rclone(home, hosts) as rclone:
        rclone.configure(
            "drive",
            type="drive",
            scope="drive.file",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            root_folder_id=cloud.drive(account).root,
            use_trash="false",
            token=json.dumps(token),
        )
        yield rclone


# rclone never finishes an empty file in parts, so even the least cutoff is above that.
@pytest.mark.parametrize("cutoff", ["1B", "8Mi"])
def test_rclone_copies_checks_reads_and_deletes(
    rclone: Rclone, cloud: DriveEmulator, tmp_path: Path, cutoff: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    contents = {"empty": b"", "small.bin": b"small", "large.bin": bytes(range(256)) * (5 << 10)}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    options = ("--drive-chunk-size", "256Ki", "--drive-upload-cutoff", cutoff)
    rclone.run("copy", str(source), "drive:", *options)
    [account] = cloud.accounts.values()
    assert contents == {stored.name: stored.content.read() for stored in account.files.values()}
    assert 1 == cloud.faults.requests["token"]
    assert (cloud.faults.requests["append"] > 0) is (cutoff == "1B")
    # By Drive's hash, and then by the bytes.
    rclone.run("check", str(source), "drive:")
    rclone.run("check", "--download", str(source), "drive:")
    assert contents["large.bin"][1 << 20 :][:77] == rclone.run(
        "cat", "--offset", str(1 << 20), "--count", "77", "drive:large.bin"
    )
    listed = json.loads(rclone.run("lsjson", "--hash", "drive:"))
    assert {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    } == {entry["Name"]: (entry["Size"], entry["Hashes"]["sha256"]) for entry in listed}
    told = json.loads(rclone.run("about", "--json", "drive:"))
    assert sum(map(len, contents.values())) == told["used"]
    # Other content for a file that there is.
    (source / "small.bin").write_bytes(b"other")
    rclone.run("copy", "--ignore-times", str(source), "drive:", *options)
    rclone.run("check", str(source), "drive:")
    rclone.run("deletefile", "drive:small.bin")
    assert ["empty", "large.bin"] == sorted(stored.name for stored in account.files.values())
    assert [] == rclone.refused
