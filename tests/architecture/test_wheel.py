"""
That what people install is the gateway, whole, and nothing else.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.tree import ROOT, committed_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_holds_every_file_of_the_gateway(wheel: zipfile.ZipFile) -> None:
    relative = (file.relative_to(ROOT) for file in committed_files())
    ours = {
        str(path)
        for path in relative
        if path.parts[0] == "gateway" and path.parts[:3] != ("gateway", "web", "frontend")
    }

    assert set() == ours - set(wheel.namelist())


def test_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    roots = {Path(name).parts[0].partition("-")[0] for name in wheel.namelist()}

    assert {"gateway", "recording_gateway"} == roots


def test_carries_the_pages_scripts_and_not_what_they_are_made_of(wheel: zipfile.ZipFile) -> None:
    assert "gateway/web/static/recordings.js" in wheel.namelist()
    assert [] == [name for name in wheel.namelist() if "frontend" in name or "node_modules" in name]


def test_brings_the_command_and_the_local_backend(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(entry_points).decode()

    assert "gateway = gateway.cli:main" in text
    assert "local = gateway.backends.local" in text
