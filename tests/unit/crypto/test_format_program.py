"""
The program on the page (FORMAT §7.2) opens what we seal, with nothing of ours.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import pytest

from gateway.base.secret import Secret
from gateway.crypto.keys import subkey
from tests.unit.crypto.blobs import seal_blob
from tests.unit.crypto.test_check_values import FORMAT, LEAF, PREAMBLE, STATE

PROGRAM: Final = re.findall(r"```python\n(.*?)```", FORMAT, re.DOTALL)
KEY: Final = subkey(STATE.leaf(LEAF), "audio")


class Program(Protocol):
    def __call__(self, blob: bytes, key: Secret = KEY) -> subprocess.CompletedProcess[bytes]: ...


@pytest.fixture
def run_program(tmp_path: Path) -> Program:
    """
    Runs the program on a blob, from a folder that has none of our code.
    """
    (program,) = PROGRAM
    (tmp_path / "open.py").write_text(program)

    def run(blob: bytes, key: Secret = KEY) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / "recording.blob").write_bytes(blob)
        return subprocess.run(
            [sys.executable, "-I", "open.py", "recording.blob"],
            input=key.reveal().hex().encode() + b"\n",
            capture_output=True,
            cwd=tmp_path,
            check=False,
        )

    return run


def test_it_has_ten_lines_and_names_nothing_of_ours() -> None:
    (program,) = PROGRAM
    assert 10 == len(program.splitlines())
    assert "gateway" not in program


@pytest.mark.parametrize("size", [0, 10, 16_383, 16_384, 16_385, 200_000])
def test_it_opens_what_was_sealed(run_program: Program, size: int) -> None:
    plaintext = bytes(7 * j % 251 for j in range(size))
    ran = run_program(seal_blob(KEY, PREAMBLE, plaintext))
    assert (0, plaintext) == (ran.returncode, ran.stdout)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda blob: blob[:-16], id="cut within the last chunk"),
        pytest.param(lambda blob: blob[: 92 + 16_400], id="cut between chunks"),
        pytest.param(lambda blob: blob[:92], id="header alone"),
        pytest.param(lambda blob: blob[:70], id="cut within the header"),
        pytest.param(lambda blob: blob[:-1] + bytes([blob[-1] ^ 1]), id="last tag"),
        pytest.param(lambda blob: bytes([blob[0] ^ 1]) + blob[1:], id="preamble"),
        pytest.param(lambda blob: blob + bytes(1), id="one byte more"),
    ],
)
def test_it_fails_for_a_broken_blob(run_program: Program, broken: Callable[[bytes], bytes]) -> None:
    assert run_program(broken(seal_blob(KEY, PREAMBLE, bytes(20_000)))).returncode != 0


def test_it_says_so_if_the_key_is_another_recordings(run_program: Program) -> None:
    ran = run_program(seal_blob(KEY, PREAMBLE, b"hello"), key=subkey(STATE.leaf(LEAF), "details"))
    assert (1, b"") == (ran.returncode, ran.stdout)
    assert b"not the key of this blob" in ran.stderr
