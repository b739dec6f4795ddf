"""
``gateway plugin new``: what it writes is a plugin that works.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import passed_environment
from tests.cli.conftest import Shell, without_gateway_settings
from tests.support.tree import ROOT


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The folder of a new plugin.
    """
    desk = tmp_path_factory.mktemp("new")
    folder = desk / "cold-store"
    shell = Shell(desk, without_gateway_settings(), desk / "data")
    done = shell.run("plugin", "new", "cold-store", "--folder", folder)
    assert (0, f"{folder}\n") == (done.returncode, done.stdout), done.stderr
    return folder


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Where it is installed.
    """
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--no-build-isolation"),
            *("--no-index", "--disable-pip-version-check", "--target", site, project),
        ],
        check=True,
        capture_output=True,
    )
    return site


def test_its_own_tests_pass_at_once(project: Path, site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=project,
        env={**passed_environment(), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_gateway_finds_it(operator: Shell, site: Path) -> None:
    listed = json.loads(operator.run("plugin", "list", "--json", PYTHONPATH=str(site)).stdout)
    (kind,) = [kind for kind in listed["kinds"] if kind["kind"] == "cold-store"]
    assert ("cold-store", "recording-gateway-cold-store") == (kind["plugin"], kind["distribution"])


def test_it_keeps_every_promise_in_a_live_place(operator: Shell, site: Path, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "place.toml").write_text(f'root = "{tmp_path}/blobs"\n')
    place = ["--settings", tmp_path / "place.toml"]
    done = operator.run("plugin", "check", "cold-store", "--small", *place, PYTHONPATH=str(site))
    assert 0 == done.returncode, done.stdout + done.stderr
    assert [] == list((tmp_path / "blobs").iterdir())


def test_what_it_writes_keeps_the_rules_of_this_project(project: Path, site: Path) -> None:
    config = ROOT / "pyproject.toml"
    package = project / "gateway_cold_store"
    for command in (
        ["ruff", "format", "--diff", "--config", config, project],
        ["ruff", "check", "--config", config, package],
        ["mypy", "--config-file", config, package],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**passed_environment(), "MYPYPATH": str(project)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Cold", "cold store", "-cold", "../cold", "", 33 * "c"])
def test_a_name_that_settings_could_not_hold_is_refused(operator: Shell, tmp_path: Path, name: str) -> None:
    done = operator.run("plugin", "new", "--folder", tmp_path / "new", "--", name)
    assert 2 == done.returncode
    assert not (tmp_path / "new").exists()


def test_nothing_that_is_there_is_written_over(operator: Shell, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert 2 == operator.run("plugin", "new", "cold", "--folder", tmp_path).returncode
    assert ["README.md"] == [file.name for file in tmp_path.iterdir()]
