"""
``gateway plugin list``, with a plugin that is whole and one that is not.
"""

import asyncio
import json
import re
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


async def test_ways_of_signing_in_are_listed_as_well(tmp_path: Path) -> None:
    _, stdout, _ = await asyncio.to_thread(listed, tmp_path, "--json")
    document = json.loads(stdout)
    kinds = {kind["kind"]: kind["plugin"] for kind in document["sign_in_kinds"]}
    states = {plugin["plugin"]: plugin["state"] for plugin in document["plugins"]}

    assert {
        "console": "console",
        "dropbox": "dropbox",
        "google": "gdrive",
        "microsoft": "onedrive",
        "twilio": "twilio",
    } == kinds
    assert ("loaded", "loaded") == (states["console"], states["twilio"])


@pytest.mark.usefixtures("broken")
async def test_a_plugin_that_was_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    code, stdout, stderr = await asyncio.to_thread(listed, tmp_path)
    assert 1 == code
    assert "local" in stdout
    assert "gateway-tape 1.2.3" in stderr
    assert "no_such_module" in stderr


async def test_what_is_installed_is_told_with_its_hash_and_state(tmp_path: Path) -> None:
    _, stdout, _ = await asyncio.to_thread(listed, tmp_path, "--json")
    plugins = {plugin["plugin"]: plugin for plugin in json.loads(stdout)["plugins"]}
    assert ("loaded", False) == (plugins["local"]["state"], plugins["local"]["pinned"])
    assert re.fullmatch(r"[0-9a-f]{64}", plugins["s3"]["sha256"])


async def test_a_pinned_plugin_loads_as_it_was_and_not_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stdout, _ = await asyncio.to_thread(listed, tmp_path, "--json")
    pin = {plugin["plugin"]: plugin["sha256"] for plugin in json.loads(stdout)["plugins"]}["s3"]
    for given, state in ((pin, "loaded"), (64 * "0", "left out")):
        monkeypatch.setenv("GATEWAY_PLUGINS__PINNED", f'{{s3 = "{given}"}}')
        code, stdout, _ = await asyncio.to_thread(listed, tmp_path, "--json")
        (s3,) = [plugin for plugin in json.loads(stdout)["plugins"] if plugin["plugin"] == "s3"]
        assert (state, True, pin) == (s3["state"], s3["pinned"], s3["sha256"])
        assert (state == "loaded") == (code == 0)


async def test_a_disabled_plugin_is_listed_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PLUGINS__DISABLED", '["s3"]')
    _, stdout, _ = await asyncio.to_thread(listed, tmp_path, "--json")
    states = {plugin["plugin"]: plugin["state"] for plugin in json.loads(stdout)["plugins"]}
    assert "disabled" == states["s3"]
