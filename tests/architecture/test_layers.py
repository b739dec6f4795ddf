"""
That the import contracts speak of the gateway as it is; the contracts themselves are checked by ``make lint``.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tree import ROOT, committed_files, project_settings

MOST_LINES = 500
SOURCES = {".py", ".html", ".css", ".js", ".toml", ".sql"}
AIOHTTP_WEB_IS_FOR = ("gateway/http/", "gateway/web/", "gateway/app.py")


def test_every_part_of_the_gateway_has_a_layer() -> None:
    contracts = project_settings()["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    placed = {name.strip(" ()") for layer in layers for name in layer.split("|")}
    parts = {path.parts[1].removesuffix(".py") for path in gateway_files() if path.name != "py.typed"} - {
        "__init__",
        "__main__",
    }

    assert set() == parts - placed


def test_every_folder_with_modules_is_a_package() -> None:
    """
    The import contracts don't see modules in a folder without ``__init__.py``.

    Migration scripts are no modules: Alembic loads them by path.
    """
    folders = {path.parent for path in gateway_files() if path.suffix == ".py"}

    assert [] == [
        folder
        for folder in sorted(folders)
        if not (ROOT / folder / "__init__.py").exists() and folder.parts[-2:] != ("migrations", "versions")
    ]


def test_aiohttp_web_stays_at_the_wire() -> None:
    """
    Import contracts cannot name a submodule of somebody else's package.
    """
    importers = [
        str(path)
        for path in gateway_files()
        if path.suffix == ".py" and any(re.match(r"aiohttp\.web\b", name) for name in imports_of(ROOT / path))
    ]

    assert [] == [path for path in importers if not path.startswith(AIOHTTP_WEB_IS_FOR)]


@pytest.mark.parametrize(
    "source", ["import aiohttp.web", "from aiohttp import web", "from aiohttp.web import Response"]
)
def test_each_way_to_import_aiohttp_web_is_seen(tmp_path: Path, source: str) -> None:
    (tmp_path / "module.py").write_text(source)

    assert any(re.match(r"aiohttp\.web\b", name) for name in imports_of(tmp_path / "module.py"))


def test_no_file_became_a_place() -> None:
    lengths = {
        str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in gateway_files()
        if path.suffix in SOURCES
    }

    assert {} == {path: lines for path, lines in lengths.items() if lines > MOST_LINES}


def gateway_files() -> list[Path]:
    relative = (file.relative_to(ROOT) for file in committed_files())
    return [path for path in relative if path.parts[0] == "gateway"]


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
