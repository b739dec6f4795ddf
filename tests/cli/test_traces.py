"""
The demo's search for plaintext finds what is there.
"""

import base64
import hashlib
from pathlib import Path

import pytest

from gateway.cli.demo.traces import WINDOW, Trace, Windows, find_words, read_files

FILE = Path("file")
PLAINTEXT = hashlib.shake_256(b"spoken").digest(1000).replace(b"\0", b"\1")
"""Without a zero, so that it cannot agree with the zeros around it."""


@pytest.mark.parametrize("offset", [0, 1, 7, 8, 4095, 5000 - WINDOW])
def test_sixteen_bytes_are_found_at_every_offset(offset: int) -> None:
    content = bytearray(5000)
    content[offset : offset + WINDOW] = PLAINTEXT[333 : 333 + WINDOW]

    assert Trace(FILE, offset) == Windows(PLAINTEXT).find_in({FILE: bytes(content)})


@pytest.mark.parametrize("start", [0, 1, 984])
def test_every_window_of_the_plaintext_is_looked_for(start: int) -> None:
    assert Trace(FILE, 0) == Windows(PLAINTEXT).find_in({FILE: PLAINTEXT[start : start + WINDOW]})


def test_fifteen_bytes_are_no_trace() -> None:
    assert Windows(PLAINTEXT).find_in({FILE: PLAINTEXT[: WINDOW - 1] + bytes(5000)}) is None


def test_zeros_are_no_trace() -> None:
    assert Windows(PLAINTEXT + bytes(100)).find_in({FILE: bytes(1000)}) is None


def test_words_are_found_as_text_and_in_base64() -> None:
    word = "Lost property office"

    assert Trace(FILE, 3) == find_words([word], {FILE: b"..." + word.encode()})
    assert Trace(FILE, 3) == find_words([word], {FILE: b"..." + base64.b64encode(word.encode())})
    assert find_words([word], {FILE: b"lost property office"}) is None


def test_reads_every_file_however_deep(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/.hidden").write_bytes(b"1")
    (tmp_path / "file").write_bytes(b"2")

    assert {tmp_path / "a/b/.hidden": b"1", tmp_path / "file": b"2"} == read_files(
        tmp_path / "a", tmp_path / "file"
    )
