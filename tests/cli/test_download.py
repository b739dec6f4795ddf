"""
``gateway download``: into files and pipes, over a line that breaks, and never where it should not write.
"""

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client.file_names import safe_name
from tests.cli.conftest import Shell
from tests.cli.terminals import run_at_a_terminal
from tests.support.bad_line import bad_line
from tests.support.waiting import until

MIB = 1024 * 1024


def uploaded(shell: Shell, size: int, name: str = "call.m4a") -> tuple[str, bytes]:
    """
    Upload random bytes; return the recording's id and the bytes, whose file is gone.
    """
    content = os.urandom(size)
    source = shell.folder / name
    source.write_bytes(content)
    recording_id = shell.out("upload", name)
    source.unlink()
    return recording_id, content


def test_takes_the_recordings_own_name_and_prints_it(shell: Shell) -> None:
    recording_id, content = uploaded(shell, 100_000)
    done = shell.run("download", recording_id)

    assert (0, "call.m4a\n") == (done.returncode, done.stdout)
    assert "call.m4a: 100,000 bytes downloaded\n" == done.stderr
    assert {"call.m4a": content} == files_in(shell.folder)
    assert 0o600 == (shell.folder / "call.m4a").stat().st_mode & 0o777


def test_goes_to_a_file_a_folder_or_a_pipe(shell: Shell) -> None:
    recording_id, content = uploaded(shell, 3 * MIB)
    (shell.folder / "folder").mkdir()
    to_file = shell.out("download", recording_id, "-o", "other.m4a")
    to_folder = shell.out("download", recording_id, "-o", "folder")
    to_pipe = shell.raw("download", recording_id, "-o", "-")

    assert ("other.m4a", "folder/call.m4a") == (to_file, to_folder)
    assert {"other.m4a": content, "folder/call.m4a": content} == files_in(shell.folder)
    assert (0, content) == (to_pipe.returncode, to_pipe.stdout)


def test_a_file_that_is_there_stays_unless_forced(shell: Shell) -> None:
    recording_id, content = uploaded(shell, 1000)
    (shell.folder / "call.m4a").write_bytes(b"mine")
    refused = shell.run("download", recording_id)

    assert (1, "") == (refused.returncode, refused.stdout)
    assert "call.m4a is there already" in refused.stderr
    assert {"call.m4a": b"mine"} == files_in(shell.folder)

    shell.out("download", recording_id, "--force")
    assert {"call.m4a": content} == files_in(shell.folder)


def test_an_empty_recording_is_an_empty_file(shell: Shell) -> None:
    recording_id, _ = uploaded(shell, 0)
    shell.out("download", recording_id)

    assert {"call.m4a": b""} == files_in(shell.folder)


@pytest.mark.parametrize("output", ["call.m4a", "-"])
async def test_a_line_that_breaks_is_taken_up_where_it_broke(shell: Shell, output: str) -> None:
    recording_id, content = await asyncio.to_thread(uploaded, shell, 10 * MIB)
    async with bad_line(shell.url, "down", [2 * MIB, 10, 4 * MIB]) as (url, line):
        done = await asyncio.to_thread(shell.raw, "download", recording_id, "-o", output, GATEWAY_URL=url)

    assert (0, []) == (done.returncode, line.breaks), done.stderr
    assert content == (done.stdout if output == "-" else (shell.folder / output).read_bytes())
    # What a broken line had on its way is lost, and that may be megabytes; so it counts where the client went on.
    starts = [int(start) for start in re.findall(rb"\r\nRange: bytes=(\d+)-\r\n", line.asked)]
    assert 3 == len(starts)
    assert 0 < starts[0] == starts[1] < starts[2]


async def test_after_ctrl_c_the_same_command_goes_on(shell: Shell) -> None:
    recording_id, content = await asyncio.to_thread(uploaded, shell, 10 * MIB)
    async with bad_line(shell.url, "down", [6 * MIB], stalls=True) as (url, line):
        with shell.popen("download", recording_id, GATEWAY_URL=url) as process:
            await asyncio.wait_for(line.broken.wait(), 60)
            await grown(shell.folder / f"call.m4a.{recording_id}.part", 5 * MIB)
            process.send_signal(signal.SIGINT)
            stdout, stderr = await asyncio.to_thread(process.communicate, timeout=60)
    async with bad_line(shell.url) as (url, line):
        again = await asyncio.to_thread(shell.run, "download", recording_id, GATEWAY_URL=url)

    assert (1, b"") == (process.returncode, stdout)
    assert b"The same command goes on" in stderr
    assert 0 == again.returncode, again.stderr
    assert {"call.m4a": content} == files_in(shell.folder)
    assert line.passed["down"] < 6 * MIB


def test_a_part_that_is_too_long_is_begun_anew(shell: Shell) -> None:
    recording_id, content = uploaded(shell, 1000)
    (shell.folder / f"call.m4a.{recording_id}.part").write_bytes(bytes(2000))
    shell.out("download", recording_id)

    assert {"call.m4a": content} == files_in(shell.folder)


def test_the_part_of_another_recording_is_not_continued(shell: Shell) -> None:
    first, _ = uploaded(shell, 1000)
    second, content = uploaded(shell, 2000)
    (shell.folder / f"call.m4a.{first}.part").write_bytes(bytes(500))
    shell.out("download", second)

    assert content == (shell.folder / "call.m4a").read_bytes()


def test_a_link_in_the_way_of_the_part_is_not_followed(shell: Shell) -> None:
    recording_id, _ = uploaded(shell, 1000)
    (shell.folder / f"call.m4a.{recording_id}.part").symlink_to("elsewhere")
    done = shell.run("download", recording_id)

    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    assert not (shell.folder / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_named(shell: Shell) -> None:
    recording_id, _ = uploaded(shell, 10)
    done = shell.run("download", recording_id, "-o", "nowhere/call.m4a")

    assert (1, "Error: nowhere/call.m4a: No such file or directory\n") == (done.returncode, done.stderr)


def test_at_a_terminal_a_bar_moves_on_stderr(shell: Shell) -> None:
    recording_id, _ = uploaded(shell, 3 * MIB)
    status, stdout, screen = run_at_a_terminal(shell, "download", recording_id)

    assert (0, "call.m4a\n") == (status, stdout)
    assert "3.1/3.1 MB" in screen


@pytest.mark.parametrize(
    ("filename", "filetype", "expected"),
    [
        ("call.m4a", None, "call.m4a"),
        ("../../etc/passwd", None, "passwd"),
        ("/etc/cron.d/job", None, "job"),
        ("C:\\Users\\Ada\\call.m4a", None, "call.m4a"),
        ("..", "audio/mpeg", "ID.mp3"),
        (".", None, "ID"),
        ("a/", None, "ID"),
        ("", "text/html", "ID.html"),
        (None, None, "ID"),
        (".bashrc", None, "bashrc"),
        ("-rf", None, "rf"),
        ("--o=x.m4a", None, "o=x.m4a"),
        ("\x00\x1b[2Jcall\n.m4a", None, "[2Jcall .m4a"),
        ("\u202egnp.m4a", None, "gnp.m4a"),
        ("Gespräch mit Zoë 日本.m4a", None, "Gespräch mit Zoë 日本.m4a"),
        ("n" * 1000 + ".m4a", None, "n" * 196 + ".m4a"),
        ("ä" * 300 + ".m4a", None, "ä" * 98 + ".m4a"),
        ("n." + "m" * 1000, None, "n." + "m" * 198),
    ],
)
def test_no_name_leads_out_of_the_working_directory(
    filename: str | None, filetype: str | None, expected: str
) -> None:
    details: dict[str, Any] = {"id": "ID", "filename": filename, "filetype": filetype}

    assert expected == safe_name(details)


async def grown(file: Path, size: int) -> None:
    """
    Wait until another process has written so much.
    """
    await until(lambda: file.exists() and file.stat().st_size >= size, within_s=60)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
