"""
``gateway demo`` as a person runs it, and what the README says that it shows.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.demo import demo, story
from gateway.cli.demo.stage import Stage, StepFailed
from tests.cli.conftest import without_gateway_settings
from tests.support.tree import ROOT

HEADING = re.compile(r"^(\d+)\. (.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """
    One run of the demo, in an environment that is set for a gateway of its user's own.
    """
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "demo"],
        cwd=folder,
        env={
            **without_gateway_settings(),
            "TMPDIR": str(folder),
            "GATEWAY_URL": "http://gateway.invalid",
            "GATEWAY_DATA__DIR": str(folder / "mine"),
            "GATEWAY_HOME__KIND": "no-such-kind",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert [] == list(folder.iterdir()), "the demo left something behind"
    return done


def test_everything_holds(told: subprocess.CompletedProcess[str]) -> None:
    assert 0 == told.returncode, told.stdout + told.stderr
    assert "" == told.stderr
    assert "All of it held" in told.stdout


def test_shows_the_whole_life_of_a_recording(told: subprocess.CompletedProcess[str]) -> None:
    claims = [
        r"the server says: [\d,]+ bytes are safe",
        r"only [\d,]+ bytes had to be sent again",
        r"In the gateway's files there is none",
        r"The whole has the file's SHA-256",
        r"signed with a key that the server publishes",
        r"Verified: shredded",
        r"One changed number in it, and it is refused",
        r"The other recording plays, and is what was uploaded",
        r"The erased call does not \(Not found",
        r"its key cannot be derived any more",
        r"older than the root store",
        r"The gateway refuses",
    ]
    text = " ".join(told.stdout.split())

    assert [] == [claim for claim in claims if not re.search(claim, text)]


def test_the_readme_shows_the_steps_of_the_demo_as_it_is(told: subprocess.CompletedProcess[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    transcript = readme.partition("$ make demo\n")[2].partition("```")[0]

    assert HEADING.findall(told.stdout) == HEADING.findall(transcript)


def test_what_does_not_hold_ends_the_demo_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(folder: Path) -> None:
        Stage(folder).check(False, "All is well.", otherwise="all is lost")

    monkeypatch.setattr(story, "tell", tell)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = CliRunner().invoke(demo)

    assert 1 == done.exit_code
    assert "It did not hold: all is lost" in done.stderr
    assert "All is well" not in done.stdout
    assert [] == list(tmp_path.iterdir())


def test_keeps_what_it_made_if_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(folder: Path) -> None:
        (folder / "receipt.json").touch()

    monkeypatch.setattr(story, "tell", tell)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = CliRunner().invoke(demo, ["--keep"])

    (kept,) = tmp_path.iterdir()
    assert 0 == done.exit_code
    assert str(kept) in done.stderr
    assert (kept / "receipt.json").exists()


async def test_a_daemon_that_does_not_start_is_told_with_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"a file where a folder should be")
    async with Stage(tmp_path) as stage:
        daemon = await stage.start_daemon("data")
        with pytest.raises(StepFailed, match="Directory 'data' is a file"):
            await daemon.wait_until_ready()
