"""
The sealed part of an export: opened with nothing but Python and the package ``cryptography``.
"""

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.http.phone import Phone, blob_files, speech
from tests.http.test_exports import downloaded, listed, opened, ready
from tests.support.gateway import Served

NEEDED = ("cryptography", "cffi", "_cffi_backend", "pycparser")
"""The package and what it needs itself."""


@pytest.fixture(scope="session")
def cryptography_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A folder of packages in which there is nothing else.
    """
    folder = tmp_path_factory.mktemp("packages")
    for name in NEEDED:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        origin = Path(found.origin)
        target = origin.parent if found.submodule_search_locations else origin
        (folder / target.name).symlink_to(target)
    return folder


def run_opener(folder: Path, packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -S leaves out this environment's own packages.
    return subprocess.run(
        [sys.executable, "-S", "open_sealed.py", *arguments],
        cwd=folder / "sealed",
        env={"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_environment_has_nothing_else(cryptography_alone: Path) -> None:
    for name, status in (("cryptography", 0), ("gateway", 1), ("msgspec", 1)):
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"import {name}"],
            env={"PYTHONPATH": str(cryptography_alone)},
            cwd=cryptography_alone,
            capture_output=True,
            check=False,
        )
        assert status == done.returncode, name


async def test_the_sealed_files_open_without_anything_of_ours(
    served: Served, tmp_path: Path, cryptography_alone: Path
) -> None:
    phone = await Phone.of_new_user(served)
    sounds = [speech(size, seed=size) for size in (0, 1, 16383, 16384, 16385, 300_000)]
    for number, sound in enumerate(sounds):
        await phone.record(sound, filename=f"{number}.m4a", party_name=f"Ö {number}")
    # One that came in two stretches.
    upload = await phone.begin(50_000)
    await phone.patch(upload, 0, speech(20_000))
    await phone.patch(upload, 20_000, speech(50_000)[20_000:])
    sounds.append(speech(50_000))
    await served.placed()
    archive = opened(await downloaded(phone, await ready(phone, "sealed")))
    assert not [name for name in archive.namelist() if name.startswith("recordings/")]
    archive.extractall(tmp_path)
    done = run_opener(tmp_path, cryptography_alone)
    assert (0, "7 opened, 0 failed\n") == (done.returncode, done.stdout), done.stderr
    found = [path.read_bytes() for path in (tmp_path / "sealed" / "opened").iterdir()]
    assert sorted(sounds) == sorted(found)
    assert "README.txt says how to open them" in archive.read("index.html").decode()

    # What is damaged is named, and nothing of it is written.
    blob = next(path for path in (tmp_path / "sealed").glob("*.recg") if path.stat().st_size > 200_000)
    content = bytearray(blob.read_bytes())
    for damaged in (
        content[:-1],
        content[: 92 + 16400],
        bytes([*content[:50_000], content[50_000] ^ 1, *content[50_001:]]),
    ):
        blob.write_bytes(damaged)
        done = run_opener(tmp_path, cryptography_alone, "--check")
        assert 1 == done.returncode
        assert blob.name in done.stderr
        assert "6 opened, 1 failed" in done.stdout


async def test_a_key_opens_its_recording_alone_and_the_blobs_are_those_that_are_stored(
    served: Served,
) -> None:
    phone = await Phone.of_new_user(served)
    before = set(blob_files(served))
    await phone.record(speech(1000, seed=1))
    await phone.record(speech(1000, seed=2))
    await served.placed()
    archive = opened(await downloaded(phone, await ready(phone, "sealed", "audio")))
    stored = {path.read_bytes() for path in set(blob_files(served)) - before}
    assert stored == {archive.read(entry["sealed_file"]) for entry in listed(archive)}
    keys = json.loads(archive.read("sealed/keys-0001.json"))
    assert 2 == len({entry["key"] for entry in keys})


async def test_a_damaged_copy_is_not_handed_out_sealed(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    before = set(blob_files(served))
    recording = await phone.record(speech(100_000))
    await served.placed()
    export = await ready(phone, "sealed")
    whole = await downloaded(phone, export)
    [blob] = set(blob_files(served)) - before
    content = bytearray(blob.read_bytes())
    content[60_000] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    at = whole.index(b"RECG\x01\x01")
    # What lies before the damage is still good, and what lies behind.
    for first, last in ((at, at + 10), (at + 30_000, at + 40_000), (at + 90_000, at + 95_000)):
        answer = await phone.ask("GET", export["archive"], {"Range": f"bytes={first}-{last}"})
        assert whole[first : last + 1] == answer.body
    answer = await phone.ask("GET", export["archive"], {"Range": f"bytes={at + 59_000}-{at + 61_000}"})
    assert 410 == answer.status
    await served.placed()
    again = (await phone.ask("GET", f"/v1/exports/{export['id']}")).document
    assert [(recording, "damaged")] == [(one["recording"], one["reason"]) for one in again["missing"]]


async def test_what_is_not_stored_yet_is_waited_for(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    recording = await phone.record(speech(1000))
    answer = await phone.ask(
        "POST", "/v1/exports", {"Content-Type": "application/json"}, b'{"include": ["sealed"]}'
    )
    export = answer.document["id"]
    # The export is made before the recording is brought home.
    await served.gateway.exports.making.carry_on(export)
    found = (await phone.ask("GET", f"/v1/exports/{export}")).document
    assert ("preparing", 0) == (found["state"], found["checked"])
    await served.placed()
    await served.gateway.exports.making.carry_on(export)
    found = (await phone.ask("GET", f"/v1/exports/{export}")).document
    assert ("ready", 1, 0) == (found["state"], found["checked"], found["missing_count"])
    archive = zipfile.ZipFile(io.BytesIO(await downloaded(phone, found)))
    assert f"sealed/{recording}.recg" in archive.namelist()
