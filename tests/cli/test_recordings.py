"""
``gateway recordings``: everything, through as many pages as it takes, and harmless to look at.
"""

import json

import pytest

from tests.cli.conftest import PAGE_SIZE, Shell


@pytest.fixture
def stored(shell: Shell) -> list[str]:
    """
    The ids of seven recordings, newest first: three to Ada, three from Bob, one that says nothing of itself.
    """
    assert 7 > 2 * PAGE_SIZE
    files = []
    for number in range(7):
        files.append(f"{number}.m4a")
        (shell.folder / files[-1]).write_bytes(bytes([number]) * (number + 1) * 1000)
    to_ada = ("--direction", "out", "--party-name", "Ada", "--label", "work")
    from_bob = (
        "--direction",
        "in",
        "--party-number",
        "+44 1632 960002",
        "--recorded-at",
        "2026-01-31T14:05:00Z",
    )
    ids = [
        *shell.out("upload", *files[:3], *to_ada).splitlines(),
        *shell.out("upload", *files[3:6], *from_bob).splitlines(),
        shell.out("upload", files[6]),
    ]
    return ids[::-1]


def test_goes_through_all_pages_and_filters(shell: Shell, stored: list[str]) -> None:
    def ids(*arguments: str) -> list[str]:
        return [kept["id"] for kept in json.loads(shell.out("recordings", "--json", *arguments))]

    assert stored == ids()
    assert stored[:5] == ids("--limit", "5")
    assert stored[4:] == ids("--direction", "out")
    assert stored[4:] == ids("--label", "work")
    assert stored[1:4] == ids("--party", "+441632960002")
    assert stored[4:] == ids("--party", "ada")
    assert stored[1:4] == ids(
        "--recorded-from", "2026-01-31T14:00:00Z", "--recorded-before", "2026-02-01T00:00:00Z"
    )
    assert [] == ids("--stored-before", "2020-01-01T00:00:00Z")
    assert stored == ids("--stored-from", "2020-01-01T00:00:00Z")


def test_a_table_has_a_line_each_however_wide(shell: Shell, stored: list[str]) -> None:
    done = shell.run("recordings", COLUMNS="40")
    head, *lines = done.stdout.splitlines()

    assert (0, "") == (done.returncode, done.stderr)
    assert ["id", "when", "call", "size", "file", "labels"] == head.split()
    assert stored == [line.split()[0] for line in lines]
    assert f"{stored[1]}  2026-01-31 14:05  from +44 1632 960002  6.0 kB  5.m4a" == lines[1].rstrip()


def test_nothing_in_a_table_steers_the_terminal(shell: Shell) -> None:
    (shell.folder / "call.m4a").write_bytes(b"x")
    shell.out("upload", "call.m4a", "--party-name", "\x1b]0;title\x07[red]Mal\u202elory[/red] :smile:")
    table = shell.out("recordings")

    assert "\ufffd]0;title\ufffd[red]Mal\ufffdlory[/red] :smile:" in table


def test_an_empty_list_is_said_on_stderr(shell: Shell) -> None:
    nothing = shell.run("recordings")
    filtered = shell.run("recordings", "--label", "work")

    assert (0, "", "There are no recordings yet.\n") == (nothing.returncode, nothing.stdout, nothing.stderr)
    assert (0, "", "No recording is like that.\n") == (filtered.returncode, filtered.stdout, filtered.stderr)
