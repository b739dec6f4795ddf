"""
That `PluginLint` passes a plugin that is as it should be, and tells one that is wrong in one way by one test.
"""

import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest

from gateway.testing.lint import PluginLint
from tests.backends.distributions import install
from tests.support.tree import ROOT

TAPE = {
    "__init__": """
        from gateway.api import API_VERSION, BackendKind, hookimpl
        from PACKAGE.backend import connect
        from PACKAGE.settings import Settings

        @hookimpl
        def gateway_register_backends():
            return [BackendKind(name="tape", api_version=API_VERSION, settings_type=Settings, connect=connect,
                secret_settings=frozenset({"key"}))]
    """,
    "backend": """
        async def connect(context, settings): ...
    """,
    "client": "import tape_library",
    "errors": "import tape_library",
    "settings": """
        from dataclasses import dataclass, field

        @dataclass(frozen=True)
        class Settings:
            key: str = field(repr=False)
    """,
}
WRONG = [
    ("settings", "(frozen=True)", "", "test_settings_are_frozen"),
    ("settings", "field(repr=False)", "field()", "test_secret_settings_do_not_show"),
    ("settings", "import dataclass,", "import dataclass ,", None),  # still as it should be
    ("__init__", '{"key"}', '{"kee"}', "test_settings_that_are_named_exist"),
    ("__init__", '"tape"', '"Tape"', "test_kinds_have_names_that_settings_can_hold"),
    ("__init__", "=API_VERSION", "=API_VERSION + 1", "test_kinds_are_for_a_contract_that_is_served"),
    ("__init__", "@hookimpl\n", "\n", "test_the_hook_is_marked_and_synchronous"),
    ("__init__", "connect=connect", "oauth=print, connect=connect", "test_its_modules_have_the_usual_names"),
    ("backend", "...", "import tape_library", "test_the_providers_library_stays_in_its_modules"),
    ("backend", "...", "import gateway.settings", "test_it_knows_nothing_of_the_gateway_but_the_contract"),
    (
        "backend",
        "...",
        "from gateway.api.blobs import Span",
        "test_it_knows_nothing_of_the_gateway_but_the_contract",
    ),
    ("backend", "...", "context.refresh_token", "test_no_refresh_token_is_touched_outside_of_oauth"),
    ("backend", "...", "context['refresh_token']", "test_no_refresh_token_is_touched_outside_of_oauth"),
    ("backend", "...", "await asyncio.sleep(delay)", "test_it_does_not_sleep"),
]
"""Module, what is replaced in it, by what, and the test that then fails."""


NO_ENTRY_POINT, NO_MARK, NO_ERRORS = "without an entry point", "without py.typed", "without errors"
LACKING = {
    NO_ENTRY_POINT: "test_an_entry_point_leads_to_it",
    NO_MARK: "test_it_tells_that_it_has_types",
    NO_ERRORS: "test_its_modules_have_the_usual_names",
}

Failures = dict[str, list[str]]


def write(site: Path, number: int, sources: dict[str, str], lacks: str = "") -> None:
    """
    Install one plugin, and put the suite for it beside it.
    """
    name = f"gateway_tape{number}"
    plugins = {} if lacks == NO_ENTRY_POINT else {"tape": name}
    install(site, name, {}, plugins=plugins)
    package = site / name
    package.mkdir()
    if lacks != NO_MARK:
        (package / "py.typed").touch()
    for module, source in sources.items():
        if lacks != NO_ERRORS or module != "errors":
            (package / f"{module}.py").write_text(textwrap.dedent(source).replace("PACKAGE", name))
    with (site / "test_tapes.py").open("a") as suites:
        suites.write(f"class Test{number}(PluginLint):\n    package = {name!r}\n\n")


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    """
    What failed for each plugin: those of WRONG, then those of LACKING.
    """
    site = tmp_path_factory.mktemp("site")
    (site / "tape_library.py").touch()
    (site / "test_tapes.py").write_text("from gateway.testing.lint import PluginLint\n\n")
    for number, (module, old, new, _) in enumerate(WRONG):
        assert old in TAPE[module]
        write(site, number, {**TAPE, module: TAPE[module].replace(old, new)})
    for number, lacks in enumerate(LACKING, start=len(WRONG)):
        write(site, number, TAPE, lacks)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"),
            *("-p", "no:xdist", "--rootdir", site, "-c", "/dev/null", site / "test_tapes.py"),
        ],
        cwd=site,
        env={"PYTHONPATH": f"{site}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Failures = defaultdict(list)
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            _, suite, test = line.split(" - ")[0].split("::")
            found[suite].append(test)
    return found


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_plugin_fails_the_test_meant_for_it_and_only_that(failures: Failures, number: int) -> None:
    test = WRONG[number][3]
    assert ([test] if test else []) == failures[f"Test{number}"]


@pytest.mark.parametrize("lacks", LACKING)
def test_a_plugin_that_lacks_something_is_told(failures: Failures, lacks: str) -> None:
    assert [LACKING[lacks]] == failures[f"Test{len(WRONG) + list(LACKING).index(lacks)}"]


class TestS3(PluginLint):
    package = "gateway_s3"
