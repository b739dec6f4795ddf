"""
``gateway plugin list``, with a plugin that is whole and one that is not.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.backends.loader import OUR_DISTRIBUTION
from tests.backends.distributions import install
from tests.cli.conftest import Shell


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """
    Where a distribution is installed whose plugin cannot be imported.
    """
    site = tmp_path / "site"
    site.mkdir()
    install(site, "gateway-tape", {"tape_plugin": "import no_such_module"}, plugins={"tape": "tape_plugin"})
    return site


def listed(shell: Shell, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return shell.run("plugin", "list", *arguments, "--data-dir", shell.data_dir, **environment)


def plugins_listed(shell: Shell, **environment: str) -> dict[str, Any]:
    document = json.loads(listed(shell, "--json", **environment).stdout)
    return {plugin["plugin"]: plugin for plugin in document["plugins"]}


def test_what_is_built_in_is_listed_with_its_settings(operator: Shell) -> None:
    document = json.loads(listed(operator, "--json").stdout)
    kinds = {kind["kind"]: kind for kind in document["kinds"]}
    assert ("local", OUR_DISTRIBUTION, 1) == tuple(
        kinds["local"][key] for key in ("plugin", "distribution", "contract")
    )
    assert "root" in kinds["local"]["settings"]


def test_ways_of_signing_in_are_listed_as_well(operator: Shell) -> None:
    document = json.loads(listed(operator, "--json").stdout)
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


def test_a_plugin_that_was_left_out_is_named_with_its_reason(operator: Shell, site: Path) -> None:
    done = listed(operator, PYTHONPATH=str(site))
    assert 1 == done.returncode
    assert "local" in done.stdout
    assert "gateway-tape 1.2.3" in done.stderr
    assert "no_such_module" in done.stderr


def test_what_is_installed_is_told_with_its_hash_and_state(operator: Shell) -> None:
    plugins = plugins_listed(operator)
    assert ("loaded", False) == (plugins["local"]["state"], plugins["local"]["pinned"])
    assert re.fullmatch(r"[0-9a-f]{64}", plugins["s3"]["sha256"])


def test_a_pinned_plugin_loads_as_it_was_and_not_otherwise(operator: Shell) -> None:
    pin = plugins_listed(operator)["s3"]["sha256"]
    for given, state in ((pin, "loaded"), (64 * "0", "left out")):
        done = listed(operator, "--json", GATEWAY_PLUGINS__PINNED=f'{{s3 = "{given}"}}')
        (s3,) = [plugin for plugin in json.loads(done.stdout)["plugins"] if plugin["plugin"] == "s3"]
        assert (state, True, pin) == (s3["state"], s3["pinned"], s3["sha256"])
        assert (state == "loaded") == (done.returncode == 0)


def test_a_disabled_plugin_is_listed_as_such(operator: Shell) -> None:
    assert "disabled" == plugins_listed(operator, GATEWAY_PLUGINS__DISABLED='["s3"]')["s3"]["state"]
