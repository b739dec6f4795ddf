"""
SIGKILL at any file call of a put leaves the blob there whole, or not at all.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from gateway.api import BackendContext, BlobKey, BlobRef, Conflict
from gateway.backends.local.backend import connect
from gateway.backends.local.settings import LocalSettings
from gateway.testing.conformance import PIECE, listed, read_all
from gateway.testing.sources import BytesSource, pattern

PROJECT = Path(gateway.__file__).parent.parent
KEY = BlobKey("abcd" + 60 * "0")
CONTENT = pattern(3 * PIECE + 5)


@pytest.mark.parametrize("how", ["copied", "linked"])
async def test_a_put_killed_at_any_file_call_is_whole_or_absent(how: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch(mode=0o600)
    source.write_bytes(CONTENT)
    folders = tmp_path / "folders"
    folders.mkdir()
    command = [sys.executable, "-m", "tests.backends.crashing_puts", how, str(folders), KEY, str(source)]
    killed = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    roots = [Path(line) for line in killed.stdout.splitlines()]
    outcomes = [await _recovered(root) for root in roots]
    assert outcomes.count("absent") >= 10
    assert outcomes.count("whole") >= 2
    # Once it is visible, it stays.
    assert sorted(outcomes) == outcomes


async def _recovered(root: Path) -> str:
    """
    Return what became of the blob, having put it if it was not there.
    """
    async with connect(BackendContext(account="home"), LocalSettings(root=root)) as backend:
        assert [] == list((root / ".incoming").iterdir())
        found = await backend.find(KEY)
        assert [] == [blob for blob in await listed(backend) if blob.ref != found]
        if found is None:
            await backend.put(KEY, BytesSource(CONTENT))
        else:
            with pytest.raises(Conflict):
                await backend.put(KEY, BytesSource(CONTENT))
        assert CONTENT == await read_all(backend, BlobRef(KEY))
        return "absent" if found is None else "whole"
