"""
That what is written for authors of plugins is true of the kit and of the example.
"""

import inspect
import re
from importlib import import_module, metadata

import pytest

from gateway.api import ENTRY_POINT_GROUP
from gateway.testing import SUITES
from tests.support.tree import ROOT

PLUGINS = ROOT / "docs" / "plugins"
EXAMPLES = [PLUGINS / "sftp", PLUGINS / "company"]
QUOTE = re.compile(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n.*?^```$", re.MULTILINE | re.DOTALL)


def names_of_all_tests() -> set[str]:
    modules = [import_module(f"gateway.testing.{suite}") for suite in SUITES]
    return {
        name
        for module in modules
        for _, suite in inspect.getmembers(module, inspect.isclass)
        if suite.__module__ == module.__name__
        for name in vars(suite)
        if name.startswith("test_")
    }


def test_every_test_of_the_kit_is_told_with_what_it_wants() -> None:
    told = re.findall(r"^\| `(test_\w+)` \| .+ \|$", (PLUGINS / "conformance.md").read_text(), re.MULTILINE)
    assert sorted(names_of_all_tests()) == sorted(told)


def test_every_suite_is_told() -> None:
    text = (PLUGINS / "conformance.md").read_text()
    for suite in SUITES:
        assert f"`{suite}." in text


QUOTES = QUOTE.findall((PLUGINS / "writing.md").read_text())


@pytest.mark.parametrize(("file", "quoted"), QUOTES, ids=range(len(QUOTES)))
def test_what_the_tutorial_quotes_is_in_the_example(file: str, quoted: str) -> None:
    assert any(quoted in (example / file).read_text() for example in EXAMPLES if (example / file).exists())


def test_the_tutorial_shows_no_code_that_is_not_a_quote() -> None:
    text = (PLUGINS / "writing.md").read_text()
    shown = [language for language in BLOCK.findall(text) if language != "text"]
    assert len(QUOTES) == len(shown) > 10


def test_the_examples_are_not_installed_and_the_gateway_does_not_know_them() -> None:
    names = {example.name for example in EXAMPLES}
    assert [] == [entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP) if entry.name in names]
    known = [
        file
        for folder in ("gateway", "plugins", "scripts")
        for file in (ROOT / folder).rglob("*.py")
        if any(f"gateway_{name}" in file.read_text() for name in names)
    ]
    assert [] == known
