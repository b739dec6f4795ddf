"""
That the README's first steps work as they stand there, and that its links lead somewhere.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import without_gateway_settings
from tests.support.gateway import running_daemon
from tests.support.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "gateway" / "cli" / "sample" / "call.m4a"


async def test_the_first_steps_work(tmp_path: Path) -> None:
    """
    Those with our own commands; the folder and the address are those of ``make run``.
    """
    steps = [block for block in re.findall(r"```sh\n(.+?)```", README, re.DOTALL) if "curl" not in block]
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    (tmp_path / "call.m4a").write_bytes(SAMPLE.read_bytes())
    async with running_daemon(tmp_path / "run") as daemon:
        script = "\n".join(["set -euo pipefail", *steps]).replace("http://127.0.0.1:8080", daemon.url)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**without_gateway_settings(), "XDG_STATE_HOME": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    assert 0 == done.returncode, done.stderr
    assert "Verified: shredded." in done.stderr
    assert SAMPLE.read_bytes() == (tmp_path / "copy.m4a").read_bytes()
    assert "shredded" == json.loads((tmp_path / "receipt.json").read_text())["receipt"]["statement"]


def test_every_link_to_a_file_leads_to_one() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]

    assert links
    assert [] == [link for link in links if not (ROOT / link).exists()]


def test_the_commands_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert set(re.findall(r"make ([a-z]+)", README)) <= targets
