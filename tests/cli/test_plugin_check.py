"""
``gateway plugin check``: what it says of a live place, and what it leaves there.
"""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from gateway.api import new_blob_key
from tests.backends.distributions import install
from tests.cli.conftest import Shell
from tests.cli.terminals import run_at_a_terminal
from tests.support.waiting import until

WRONG = """
    from contextlib import asynccontextmanager
    from dataclasses import dataclass

    from gateway.api import API_VERSION, BackendKind, hookimpl
    from gateway.testing.memory import MemoryPlace
    from gateway.testing.mutants import MUTANT

    PLACE = MemoryPlace()

    @dataclass(frozen=True)
    class Settings:
        pass

    @asynccontextmanager
    async def connect(context, settings):
        yield MUTANT(PLACE)

    @hookimpl
    def gateway_register_backends():
        return [BackendKind(name="wrong", api_version=API_VERSION, settings_type=Settings, connect=connect)]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """
    The folder of a local place that holds somebody's blob.
    """
    (tmp_path / "place.toml").write_text(f'root = "{tmp_path}/blobs"\n')
    return tmp_path / "blobs"


def command(tmp_path: Path, *arguments: str) -> list[str]:
    place = ["--settings", str(tmp_path / "place.toml"), "--data-dir", str(tmp_path / "data")]
    return ["plugin", "check", *arguments, *place]


def checked(operator: Shell, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return operator.run(*command(operator.folder, *arguments), **environment)


def blobs_in(root: Path) -> list[str]:
    return sorted(file.name for file in root.rglob("*") if file.is_file() and len(file.name) == 64)


def test_a_place_that_others_use_keeps_every_promise_and_their_blobs(operator: Shell, root: Path) -> None:
    key = new_blob_key()
    put_by_another(root, key)
    done = checked(operator, "local", "--small", "--json")
    report = json.loads(done.stdout)
    assert (0, True, True, 1, 0) == (
        done.returncode,
        report["kept"],
        report["complete"],
        report["held_before"],
        report["appeared"],
    )
    promises = [promise["promise"] for promise in report["promises"]]
    assert "a taken key is refused and its bytes stay" in promises
    assert len(promises) >= 28
    assert [key] == blobs_in(root)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    "environment",
    [{"PYTEST_ADDOPTS": "--collect-only -k nothing --no-such-option"}, {"PYTEST_PLUGINS": "no_such_plugin"}],
    ids=lambda environment: str(*environment),
)
def test_options_that_somebody_set_for_tests_of_his_own_change_nothing(
    operator: Shell, environment: dict[str, str]
) -> None:
    done = checked(operator, "local", "--small", "--json", **environment)
    assert 0 == done.returncode, done.stderr
    assert len(json.loads(done.stdout)["promises"]) >= 28


def put_by_another(root: Path, key: str) -> None:
    import asyncio

    from gateway.api import BackendContext, as_blob_key
    from gateway.backends.local.backend import connect
    from gateway.backends.local.settings import LocalSettings
    from gateway.testing.sources import BytesSource

    async def put() -> None:
        async with connect(BackendContext(account="home"), LocalSettings(root=root)) as backend:
            await backend.put(as_blob_key(key), BytesSource(b"another's"))

    asyncio.run(put())


@pytest.mark.parametrize(
    ("mutant", "promise"),
    [
        ("OverwritesWithAnotherSize", "a taken key is refused and its bytes stay"),
        ("LeavesItsProbeBehind", "a probe of a healthy place succeeds and leaves nothing"),
    ],
)
def test_a_promise_that_is_broken_is_told_in_words(
    operator: Shell, tmp_path: Path, mutant: str, promise: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "place.toml").touch()
    module = f"{mutant.lower()}_plugin"
    source = WRONG.replace("MUTANT", mutant)
    install(site, "gateway-wrong", {module: source}, plugins={"wrong": module})
    done = checked(operator, "wrong", PYTHONPATH=str(site))
    assert 1 == done.returncode, done.stderr
    assert [promise] == [line[2:].split("  (")[0] for line in done.stdout.splitlines() if line[0] == "✗"]
    assert "1 broken" in done.stderr


@pytest.mark.parametrize("times", [1, 2])
async def test_ctrl_c_leaves_nothing_behind(operator: Shell, root: Path, times: int) -> None:
    with operator.popen(*command(operator.folder, "local")) as process:
        await until(lambda: root.exists() and blobs_in(root) != [])
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert 1 == process.returncode, (stdout, stderr)
    assert b"ended early" in stderr
    assert b"Traceback" not in stderr
    assert [] == blobs_in(root)


@pytest.mark.usefixtures("root")
def test_a_person_sees_a_bar_and_a_report_without_pytests_words(operator: Shell) -> None:
    status, stdout, shown = run_at_a_terminal(operator, *command(operator.folder, "local", "--small"))
    assert 0 == status
    assert "✓ deleting again succeeds" in stdout
    assert "━" in shown
    assert "promises kept, 0 broken" in shown
    assert "pytest" not in stdout + shown


@pytest.mark.parametrize(
    ("kind", "place", "told"),
    [
        ("nothing", "", "no plugin brings"),
        ("local", "rot = 1", "'rot'"),
        ("local", "root = [", "place.toml"),
        ("local", 'root = "/no/such/folder/blobs"', "/no/such/folder"),
    ],
)
def test_a_place_that_cannot_be_reached_is_told_and_nothing_is_run(
    operator: Shell, tmp_path: Path, kind: str, place: str, told: str
) -> None:
    (tmp_path / "place.toml").write_text(place)
    done = checked(operator, kind)
    assert (1, "") == (done.returncode, done.stdout)
    assert told in done.stderr


def test_the_home_is_checked_where_nothing_else_is_said(operator: Shell) -> None:
    operator.data_dir.mkdir()
    done = operator.run("plugin", "check", "local", "--small", "--data-dir", operator.data_dir)
    assert 0 == done.returncode, done.stderr
    assert [] == blobs_in(operator.data_dir / "blobs")
