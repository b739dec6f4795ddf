"""
``gateway plugin list``, with a plugin that is whole and one that is not.
"""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.backends.loader import OUR_DISTRIBUTION
from tests.backends.distributions import install
from tests.support.gateway import Daemon


def listed(tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    place = ["--data-dir", str(tmp_path / "data")]
    done = Daemon(tmp_path / "data").command("plugin", "list", *arguments, *place, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A distribution whose plugin cannot be imported.
    """
    site = tmp_path / "site"
    site.mkdir()
    install(site, "gateway-tape", {"tape_plugin": "import no_such_module"}, plugins={"tape": "tape_plugin"})
    monkeypatch.setenv("PYTHONPATH", str(site))


async def test_what_is_built_in_is_listed_with_its_settings(tmp_path: Path) -> None:
    _, stdout, _ = await asyncio.to_thread(listed, tmp_path, "--json")
    kinds = {kind["kind"]: kind for kind in json.loads(stdout)["kinds"]}
    assert ("local", OUR_DISTRIBUTION, 1) == tuple(
        kinds["local"][key] for key in ("plugin", "distribution", "contract")
    )
    assert "root" in kinds["local"]["settings"]


@pytest.mark.usefixtures("broken")
async def test_a_plugin_that_was_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    code, stdout, stderr = await asyncio.to_thread(listed, tmp_path)
    assert 1 == code
    assert "local" in stdout
    assert "gateway-tape 1.2.3" in stderr
    assert "no_such_module" in stderr
