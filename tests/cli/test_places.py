"""
Linking, choosing a route, moving, scrubbing and unlinking as a person does it at a terminal.
"""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, new_user, without_gateway_settings
from tests.emulators.gdrive import DriveEmulator
from tests.support.environment import inline_table
from tests.support.gateway import Daemon


@pytest.fixture(scope="module")
def cloud() -> Iterator[DriveEmulator]:
    with DriveEmulator() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def beside(cloud: DriveEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """
    A daemon on which Google Drive can be linked.
    """
    environment = {"GATEWAY_LINKS__KINDS": inline_table({"gdrive": cloud.settings()})}
    daemon = Daemon(tmp_path_factory.mktemp("daemon") / "data", environment=environment)
    asyncio.run(daemon.start())
    try:
        yield daemon
    finally:
        daemon.kill()


@pytest.fixture
def owner(beside: Daemon, cloud: DriveEmulator, tmp_path: Path) -> Shell:
    _, token = asyncio.run(new_user(beside.data_dir))
    folder = tmp_path / "home"
    folder.mkdir()
    environment = {
        **without_gateway_settings(),
        "GATEWAY_URL": beside.url,
        "GATEWAY_TOKEN": token,
        "GATEWAY_LINKS__KINDS": inline_table({"gdrive": cloud.settings()}),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TZ": "UTC",
    }
    return Shell(folder, environment, beside.data_dir)


def linked(owner: Shell, cloud: DriveEmulator) -> str:
    """
    Link an account; return the link's id.
    """
    account = cloud.new_account()
    url = owner.out("link", "add", "gdrive", "--no-wait")
    with urllib.request.urlopen(cloud.oauth.approve(url, account)) as page:
        assert b"linked" in page.read()
    [link] = json.loads(owner.out("link", "list", "--json"))["links"]
    return str(link["id"])


def test_linking_waits_for_the_consent_and_prints_the_id_alone(owner: Shell, cloud: DriveEmulator) -> None:
    account = cloud.new_account()
    process = owner.popen("link", "add", "gdrive")
    assert process.stderr is not None
    assert b"Open this address" in process.stderr.readline()
    url = process.stderr.readline().decode().strip()
    with urllib.request.urlopen(cloud.oauth.approve(url, account)) as page:
        assert page.status == 200
    out, told = process.communicate(timeout=60)
    [link] = json.loads(owner.out("link", "list", "--json"))["links"]
    assert (0, f"{link['id']}\n") == (process.returncode, out.decode())
    assert "Google Drive" in told.decode()


def test_a_table_shows_how_a_link_is_and_what_can_be_linked(owner: Shell, cloud: DriveEmulator) -> None:
    assert "Nothing is linked yet." in owner.run("link", "list").stderr
    link = linked(owner, cloud)
    listed = owner.run("link", "list")
    assert link in listed.stdout
    assert "ok" in listed.stdout
    assert "gdrive (Google Drive)" in listed.stderr
    assert "ok" in owner.run("link", "check", link).stderr


def test_a_kind_that_is_not_offered_is_refused(owner: Shell) -> None:
    refused = owner.run("link", "add", "dropbox")
    assert 1 == refused.returncode
    assert refused.stderr.startswith("Error: ")
    assert 2 == owner.run("link", "add", "gdrive", "--set", "nonsense").returncode


def test_the_whole_way_of_a_recording(owner: Shell, cloud: DriveEmulator) -> None:
    link = linked(owner, cloud)
    account = list(cloud.accounts.values())[-1]
    route = json.loads(owner.out("route", "--no-home", "--copy", link))
    assert {"home": False, "copies": [link], "falls_over": False} == route == json.loads(owner.out("route"))
    (owner.folder / "call").write_bytes(b"spoken words" * 1000)
    recording = owner.out("upload", "call")

    moved = owner.run("move", link, "home")
    assert (0, 0) == (moved.returncode, len(cloud.blob_keys(account))), moved.stderr
    moved = owner.run("move", "home", link)
    assert (0, 1) == (moved.returncode, len(cloud.blob_keys(account))), moved.stderr
    assert "Done: 1 of 1 recordings." in moved.stderr
    owner.run("download", recording, "--output", "back")
    assert b"spoken words" * 1000 == (owner.folder / "back").read_bytes()

    removed = owner.run("link", "remove", link)
    assert (0, 0) == (removed.returncode, len(cloud.blob_keys(account))), removed.stderr
    assert {"home": True, "copies": [], "falls_over": False} == json.loads(owner.out("route"))
    assert recording in owner.out("recordings")


def test_a_scrub_finds_what_is_lost_and_says_so(owner: Shell, cloud: DriveEmulator, tmp_path: Path) -> None:
    data = tmp_path / "data"
    alone = Daemon(data, environment={"GATEWAY_LINKS__KINDS": owner.environment["GATEWAY_LINKS__KINDS"]})
    asyncio.run(alone.start())
    try:
        _, token = asyncio.run(new_user(data))
        there = replace(owner, data_dir=data)
        there.environment.update(GATEWAY_URL=alone.url, GATEWAY_TOKEN=token)
        link = linked(there, cloud)
        account = list(cloud.accounts.values())[-1]
        there.out("route", "--home", "--copy", link)
        (there.folder / "call").write_bytes(b"spoken words" * 1000)
        recording = there.out("upload", "call")
        moved = there.run("move", link, "home")
        assert 0 == moved.returncode, moved.stderr
    finally:
        alone.stop()
    assert "Copies: 1 whole." == there.out("scrub", "--data-dir", data)

    [home] = [path for path in (data / "blobs").rglob("*") if path.is_file() and path.stat().st_size > 10_000]
    home.unlink()
    found = there.run("scrub", "--data-dir", data, "--json")
    report = json.loads(found.stdout)
    assert (1, {"missing": 1}) == (found.returncode, report["copies"])
    [finding] = report["findings"]
    assert (recording, "home", "missing") == (finding["recording"], finding["place"], finding["verdict"])
    assert [] == cloud.blob_keys(account)
