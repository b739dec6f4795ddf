"""
Disks that are full, read-only or somebody else's: the kernel's own refusals, not imitations.
"""

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import gateway
from tests.backends.hostile_disks import can_mount

PROJECT = Path(gateway.__file__).parent.parent


@cache
def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        return can_mount(Path(folder))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Where nothing can be mounted, a full disk is stood for by a limit on the size of a file.
    if "no_room" in metafunc.fixturenames:
        metafunc.parametrize("no_room", ["limited file size", *(["full disk"] if _can_mount() else [])])
    if "not_writable" in metafunc.fixturenames:
        metafunc.parametrize("not_writable", ["no permission", *(["read-only disk"] if _can_mount() else [])])


def tried(way: str, tmp_path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.backends.hostile_disks", way, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_no_room_is_told_with_the_path_and_leaves_nothing(no_room: str, tmp_path: Path) -> None:
    answer = tried(no_room, tmp_path)
    assert "QuotaExceeded" == answer["refused"]
    assert f"{tmp_path}/blobs" in answer["message"]
    assert answer["found"] is False
    assert [] == answer["incoming"]
    assert answer["the first is readable"] is True
    # Room for a probe is left, or was made again by the failed put.
    assert "NoneType" == answer["probe"]


def test_a_place_that_cannot_be_written_is_the_operators_to_mend(not_writable: str, tmp_path: Path) -> None:
    answer = tried(not_writable, tmp_path)
    assert "Misconfigured" == answer["refused"]
    assert "Misconfigured" == answer["probe"]
    assert f"{tmp_path}/blobs" in answer["probe message"]
    assert answer["found"] is False
    assert answer["the first is readable"] is True
