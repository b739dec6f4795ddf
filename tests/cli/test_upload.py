"""
``gateway upload``: whole, over a line that breaks, after Ctrl-C, again, and where it cannot be done.
"""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.conftest import Shell
from tests.cli.terminals import run_at_a_terminal
from tests.support.audio import SpokenRecordings
from tests.support.bad_line import bad_line

MIB = 1024 * 1024


def recordings_of(shell: Shell) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shell.out("recordings", "--json"))
    return found


async def audio_of(shell: Shell, recording_id: str) -> bytes:
    async with (
        aiohttp.ClientSession(shell.url, headers=shell.auth) as session,
        session.get(f"/v1/recordings/{recording_id}/audio") as response,
    ):
        assert 200 == response.status
        return await response.read()


def new_file(shell: Shell, name: str, size: int) -> bytes:
    content = os.urandom(size)
    (shell.folder / name).write_bytes(content)
    return content


async def test_prints_the_id_alone_and_keeps_what_was_said(
    shell: Shell, spoken_recordings: SpokenRecordings
) -> None:
    call = spoken_recordings.path("m4a")
    done = shell.run(
        *("upload", call, "--direction", "in", "--party-number", "+44 1632 960001", "--party-name", "Zoë"),
        *("--note", "about a, b", "--label", "work", "--label", "to do", "--recorded-at", "2026-01-31 14:05"),
    )
    (kept,) = recordings_of(shell)

    assert (0, f"{kept['id']}\n") == (done.returncode, done.stdout)
    assert f"{call.name}: {call.stat().st_size:,} bytes uploaded\n" == done.stderr
    expected = {
        "filename": call.name,
        "filetype": "audio/mp4",
        "direction": "in",
        "party_number": "+44 1632 960001",
        "party_name": "Zoë",
        "note": "about a, b",
        "labels": ["work", "to do"],
        "recorded_at": "2026-01-31T14:05:00+00:00",
    }
    assert expected == {name: kept[name] for name in expected}
    assert call.read_bytes() == await audio_of(shell, kept["id"])


async def test_several_files_give_as_many_ids_in_their_order(shell: Shell) -> None:
    contents = [new_file(shell, name, size) for name, size in (("a.ogg", 0), ("b.amr", 1), ("c", 100_000))]
    ids = shell.out("upload", "a.ogg", "b.amr", "c").splitlines()

    assert contents == [await audio_of(shell, recording_id) for recording_id in ids]
    types = {kept["filename"]: kept["filetype"] for kept in recordings_of(shell)}
    assert {"a.ogg": "audio/ogg", "b.amr": "audio/amr", "c": None} == types


async def test_a_line_that_breaks_again_and_again_is_taken_up_each_time(shell: Shell) -> None:
    content = new_file(shell, "call.m4a", 20 * MIB)
    async with bad_line(shell.url, "up", [3 * MIB, 5 * MIB, 200, 9 * MIB]) as (url, line):
        done = await asyncio.to_thread(shell.run, "upload", "call.m4a", GATEWAY_URL=url)

    assert (0, []) == (done.returncode, line.breaks), done.stderr
    assert content == await audio_of(shell, done.stdout.strip())
    assert "broke the connection: Connection reset by peer; trying again in 0.5 s\n" in done.stderr
    assert line.passed["up"] < 45 * MIB


async def test_a_line_that_never_carries_a_whole_patch_brings_it_there_all_the_same(shell: Shell) -> None:
    """
    A PATCH with a checksum counts wholly or not at all; so it is made smaller until it fits.
    """
    content = new_file(shell, "call.m4a", 6 * MIB)
    async with bad_line(shell.url, "up", [3 * MIB] * 20) as (url, _):
        done = await asyncio.to_thread(shell.run, "upload", "call.m4a", GATEWAY_URL=url)

    assert 0 == done.returncode, done.stderr
    assert content == await audio_of(shell, done.stdout.strip())


async def test_after_ctrl_c_the_same_command_goes_on(shell: Shell) -> None:
    content = new_file(shell, "call.m4a", 20 * MIB)
    async with bad_line(shell.url, "up", [10 * MIB], stalls=True) as (url, line):
        with shell.popen("upload", "call.m4a", GATEWAY_URL=url) as process:
            await asyncio.wait_for(line.broken.wait(), 60)
            process.send_signal(signal.SIGINT)
            stdout, stderr = await asyncio.to_thread(process.communicate, timeout=60)
    again = shell.run("upload", "call.m4a")

    assert (1, b"") == (process.returncode, stdout)
    assert b"The same command goes on" in stderr
    assert b"Traceback" not in stderr
    assert f"call.m4a: going on at byte {8 * MIB:,}" in again.stderr
    assert content == await audio_of(shell, again.stdout.strip())
    assert 1 == len(recordings_of(shell))


async def test_a_second_run_makes_no_second_recording_until_the_first_is_erased(shell: Shell) -> None:
    new_file(shell, "call.m4a", 1000)
    first = shell.out("upload", "call.m4a")
    second = shell.run("upload", "call.m4a")
    described = shell.out("upload", "call.m4a", "--note", "another recording, for it is described otherwise")
    shell.out("delete", first, "--yes")
    third = shell.out("upload", "call.m4a")

    assert first == second.stdout.strip()
    assert "was uploaded before" in second.stderr
    assert 3 == len({first, described, third})
    assert {described, third} == {kept["id"] for kept in recordings_of(shell)}


async def test_a_file_that_changed_is_another_file(shell: Shell) -> None:
    new_file(shell, "call.m4a", 1000)
    first = shell.out("upload", "call.m4a")
    content = new_file(shell, "call.m4a", 1001)
    second = shell.out("upload", "call.m4a")

    assert first != second
    assert content == await audio_of(shell, second)


async def test_a_file_that_changes_meanwhile_is_not_mixed_with_what_it_was(shell: Shell) -> None:
    new_file(shell, "call.m4a", 20 * MIB)
    async with bad_line(shell.url, "up", [10 * MIB]) as (url, line):
        with shell.popen("upload", "call.m4a", GATEWAY_URL=url) as process:
            await asyncio.wait_for(line.broken.wait(), 60)
            new_file(shell, "call.m4a", 20 * MIB)
            stdout, stderr = await asyncio.to_thread(process.communicate, timeout=60)

    assert (1, b"") == (process.returncode, stdout)
    assert b"call.m4a: the file changed while it was uploaded" in stderr
    assert [] == recordings_of(shell)


def test_one_file_that_fails_does_not_keep_the_others_back(shell: Shell) -> None:
    new_file(shell, "call.m4a", 1000)
    os.mkfifo(shell.folder / "pipe")
    done = shell.run("upload", "pipe", "call.m4a")

    assert 1 == done.returncode
    assert "Error: pipe: this is no ordinary file\n" in done.stderr
    assert [kept["id"] for kept in recordings_of(shell)] == done.stdout.splitlines()


def test_the_name_of_a_file_does_not_steer_the_terminal(shell: Shell) -> None:
    name = "\x1b[31mred\n\u202e.m4a"
    new_file(shell, name, 1000)
    refused = shell.run("upload", name, "--note", "n" * 10_001)
    done = shell.run("upload", name)

    assert refused.stderr.startswith("Error: \ufffd[31mred \ufffd.m4a: Malformed: note: ")
    assert "\ufffd[31mred \ufffd.m4a: 1,000 bytes uploaded\n" == done.stderr
    assert [name] == [kept["filename"] for kept in recordings_of(shell)]


def test_a_token_that_ends_stops_everything(shell: Shell) -> None:
    new_file(shell, "a.m4a", 10)
    new_file(shell, "b.m4a", 10)
    done = shell.run("upload", "a.m4a", "b.m4a", GATEWAY_TOKEN="nobody")

    assert (1, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("Not signed in")


def test_without_a_place_for_its_secret_it_uploads_and_says_what_is_lost(shell: Shell) -> None:
    new_file(shell, "call.m4a", 10)
    (shell.folder / "recording-gateway").write_bytes(b"a file where a folder should be")
    done = shell.run("upload", "call.m4a", "--state-dir", shell.folder)

    assert 0 == done.returncode, done.stderr
    assert "cannot be kept" in done.stderr


def test_the_secret_is_for_its_user_alone(shell: Shell) -> None:
    new_file(shell, "call.m4a", 10)
    shell.out("upload", "call.m4a")
    (secret,) = Path(shell.environment["XDG_STATE_HOME"]).rglob("upload-secret*")

    assert (0o600, 32) == (secret.stat().st_mode & 0o777, secret.stat().st_size)


@pytest.mark.parametrize("name", ["[bold]call.m4a", ":smile:.m4a"])
def test_at_a_terminal_a_bar_moves_on_stderr_and_stdout_has_the_id(shell: Shell, name: str) -> None:
    new_file(shell, name, 3 * MIB)
    status, stdout, screen = run_at_a_terminal(shell, "upload", name)

    assert 0 == status, screen
    assert [kept["id"] for kept in recordings_of(shell)] == stdout.splitlines()
    assert name in screen
    assert "3.1/3.1 MB" in screen
