"""
PROMISES names the tests that keep each promise: they are there, and each promise has one by its name.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "PROMISES.md"
NAMED_AFTER = "tests/promises/test_promises.py"


def named() -> list[tuple[str, str]]:
    """
    Return the files and tests that the document names; the test is empty where it is the whole file.
    """
    return re.findall(r"^- `([^`:]+)(?:::(\w+))?`$", DOCUMENT.read_text("utf-8"), re.MULTILINE)


def names_in(path: Path) -> list[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def test_every_test_that_is_named_is_there() -> None:
    for file, test in named():
        assert (ROOT / file).is_file(), file
        assert not test or test in names_in(ROOT / file), f"{file}::{test}"


def test_every_promise_has_a_test_by_its_name() -> None:
    promises = re.split(r"^\*\*", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)[1:]
    firsts = [re.findall(r"^- `([^`]+)`$", promise, re.MULTILINE)[0] for promise in promises]
    assert [f"{NAMED_AFTER}::{test}" for test in names_in(ROOT / NAMED_AFTER)] == firsts
