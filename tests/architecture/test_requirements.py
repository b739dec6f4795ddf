"""
That the pinned requirements are whole, hashed, free of addresses and those of pyproject.toml.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.tree import ROOT, project_settings

ADVICE = "run scripts/lock"


@dataclass(frozen=True)
class Pin:
    name: str
    version: str
    marker: str
    hashes: int


@pytest.mark.parametrize("name", ["run.txt", "test.txt"])
def test_every_pin_has_hashes(name: str) -> None:
    assert [] == [pin.name for pin in pins_of(name) if not pin.hashes]


@pytest.mark.parametrize("name", ["run.txt", "test.txt"])
def test_no_requirement_file_names_an_address_or_an_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")

    assert [] == re.findall(r"\S*://\S*|@ \S+|^-\S+", text, re.MULTILINE)


def test_what_is_tested_is_what_runs() -> None:
    """
    Here, that is: a package that more tools want may have a wider marker among the tests.
    """
    assert set() == installed_here("run.txt") - installed_here("test.txt")


@pytest.mark.parametrize(
    ("name", "groups"),
    [("run.txt", ["build"]), ("test.txt", ["build", "test", "lint", "lock"])],
)
def test_pins_are_those_of_pyproject(name: str, groups: list[str]) -> None:
    """
    Every declared dependency is pinned to a version that its declaration allows.
    """
    pins = [pin for pin in pins_of(name) if not pin.marker or Marker(pin.marker).evaluate()]
    settings = project_settings()
    declared = [Requirement(line) for line in settings["project"]["dependencies"]]
    declared += [Requirement(line) for group in groups for line in settings["dependency-groups"][group]]
    here = [
        requirement for requirement in declared if not requirement.marker or requirement.marker.evaluate()
    ]

    unmet = [
        str(requirement)
        for requirement in here
        if not any(
            pin.name == canonicalize_name(requirement.name) and requirement.specifier.contains(pin.version)
            for pin in pins
        )
    ]

    assert [] == unmet, ADVICE


def installed_here(name: str) -> set[tuple[str, str, int]]:
    return {
        (pin.name, pin.version, pin.hashes)
        for pin in pins_of(name)
        if not pin.marker or Marker(pin.marker).evaluate()
    }


def pins_of(name: str) -> Iterator[Pin]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if found := re.match(r"(\S+)==(\S+)(?: ; (.*?))?(?=\s+--hash|\s*$)", line):
            name_, version, marker = found.groups()
            yield Pin(canonicalize_name(name_), version, marker or "", line.count("--hash=sha256:"))
