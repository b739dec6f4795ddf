"""
What no committed file may hold.

The forbidden words are put together from parts, so that this file keeps its own rule.
"""

import json
import re

import pytest

from tests.support.tree import ROOT, committed_files, text_of

REGISTRY_HOSTS = [
    "pypi" + ".org",
    "python" + "hosted",
    "registry.npm" + "js",
    "registry." + "yarnpkg",
    "deb." + "debian",
    "proxy." + "golang",
]
MACHINE_PATHS = [
    re.escape("/wo" + "rk/"),
    re.escape("/fa" + "rm/"),
    re.escape("../sha" + "red"),
    # At the start of a path only: D/root/ is where the data directory keeps its root.
    r"(?:^|(?<=[\s\"'`=(:,]))" + "/ro" + "ot/",
    r"(?:^|(?<=[\s\"'`=(:,]))" + "/Us" + "ers/",
]
GENERATED = {"uv.lock", "pylock.toml", "node_modules", "dist", ".venv", "__pycache__"}


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_file_names_a_package_registry(host: str) -> None:
    """
    Any registry that has the pinned hashes will do, so the project names none.
    """
    assert [] == places_of(re.escape(host))


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_no_file_names_a_place_on_somebodys_machine(path: str) -> None:
    assert [] == places_of(path)


def test_npm_locks_hold_hashes_and_no_addresses() -> None:
    locks = [file for file in committed_files() if file.name == "package-lock.json"]

    assert locks
    for lock in locks:
        packages = json.loads(text_of(lock))["packages"]
        dependencies = {name: entry for name, entry in packages.items() if name}
        assert [] == [name for name, entry in dependencies.items() if "resolved" in entry], lock
        assert [] == [name for name, entry in dependencies.items() if "integrity" not in entry], lock


def test_nothing_generated_is_committed() -> None:
    assert [] == [file for file in committed_files() if GENERATED & set(file.relative_to(ROOT).parts)]


def places_of(pattern: str) -> list[str]:
    expression = re.compile(pattern, re.MULTILINE)
    return [
        f"{file.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 1}"
        for file in committed_files()
        for text in [text_of(file)]
        for found in expression.finditer(text)
    ]
