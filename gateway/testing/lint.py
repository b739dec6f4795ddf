"""
What can be seen of a plugin without connecting: that it is found, and that its modules keep to their places.

    class TestLint(PluginLint):
        package = "gateway_tape"

The distribution must be installed, editable or not.
"""

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import pytest

from gateway.api import ENTRY_POINT_GROUP, SUPPORTED_API_VERSIONS, BackendKind

MODULES: Final = frozenset({"__init__", "backend", "client", "errors", "settings"})
"""The modules of every plugin, so that whoever has read one opens any other at the right file."""

MAY_IMPORT_THE_LIBRARY: Final = frozenset({"client", "errors", "oauth"})
THE_HOSTS_LIBRARIES: Final = frozenset({"aiohttp", "msgspec"})
"""What the contract itself speaks of; any module may import it."""

KIND_NAME: Final = re.compile(r"(?=.{1,32}\Z)[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
REFRESH_TOKEN: Final = "refresh_token"


class PluginLint:
    """
    The tests of one package; a subclass names it.
    """

    package: ClassVar[str]
    """The import package, such as ``gateway_tape``."""

    @pytest.fixture
    def folder(self) -> Path:
        """
        Return where the package's modules lie.
        """
        found = import_module(self.package).__file__
        assert found is not None, f"{self.package} is no package of one folder"
        return Path(found).parent

    @pytest.fixture
    def kinds(self) -> list[BackendKind[Any]]:
        """
        Return what the plugin registers.
        """
        return list(import_module(self.package).gateway_register_backends())

    def test_an_entry_point_leads_to_it(self) -> None:
        found = metadata.entry_points(group=ENTRY_POINT_GROUP)
        assert [import_module(self.package)] == [
            entry_point.load() for entry_point in found if entry_point.module == self.package
        ]

    def test_the_hook_is_marked_and_synchronous(self) -> None:
        hook = import_module(self.package).gateway_register_backends
        assert hasattr(hook, "gateway_impl"), "the mark @hookimpl is missing"
        assert not inspect.iscoroutinefunction(hook)

    def test_kinds_have_names_that_settings_can_hold(self, kinds: list[BackendKind[Any]]) -> None:
        assert kinds
        assert [kind.name for kind in kinds if not KIND_NAME.fullmatch(kind.name)] == []

    def test_kinds_are_for_a_contract_that_is_served(self, kinds: list[BackendKind[Any]]) -> None:
        assert [kind.name for kind in kinds if kind.api_version not in SUPPORTED_API_VERSIONS] == []

    def test_settings_are_frozen(self, kinds: list[BackendKind[Any]]) -> None:
        assert [kind.name for kind in kinds if not _is_frozen(kind.settings_type)] == []

    def test_settings_that_are_named_exist(self, kinds: list[BackendKind[Any]]) -> None:
        assert [
            name
            for kind in kinds
            for name in kind.user_settings | kind.secret_settings
            if name not in _field_names(kind.settings_type)
        ] == []

    def test_secret_settings_do_not_show(self, kinds: list[BackendKind[Any]]) -> None:
        assert [
            field.name
            for kind in kinds
            if dataclasses.is_dataclass(kind.settings_type)
            for field in dataclasses.fields(kind.settings_type)
            if field.name in kind.secret_settings and field.repr
        ] == []

    def test_its_modules_have_the_usual_names(self, folder: Path, kinds: list[BackendKind[Any]]) -> None:
        wanted = MODULES | ({"oauth"} if any(kind.oauth for kind in kinds) else set())
        assert set() == wanted - {module.stem for module in folder.glob("*.py")}

    def test_it_tells_that_it_has_types(self, folder: Path) -> None:
        assert (folder / "py.typed").is_file()

    def test_it_knows_nothing_of_the_gateway_but_the_contract(self, folder: Path) -> None:
        assert [
            (module, name)
            for module, name in _imports(folder)
            if name.split(".")[0] == "gateway" and name != "gateway.api"
        ] == []

    def test_the_providers_library_stays_in_its_modules(self, folder: Path) -> None:
        own = {"gateway", self.package} | THE_HOSTS_LIBRARIES | sys.stdlib_module_names
        assert [
            (module, name)
            for module, name in _imports(folder)
            if module not in MAY_IMPORT_THE_LIBRARY and name.split(".")[0] not in own
        ] == []

    def test_no_refresh_token_is_touched_outside_of_oauth(self, folder: Path) -> None:
        assert [
            module
            for module, tree in _modules(folder)
            if module != "oauth" and _mentions(tree, REFRESH_TOKEN)
        ] == []

    def test_it_does_not_sleep(self, folder: Path) -> None:
        assert [module for module, tree in _modules(folder) if _mentions(tree, "sleep")] == []


def _modules(folder: Path) -> Iterator[tuple[str, ast.Module]]:
    """
    Yield each module's name below *folder*, and its syntax tree.
    """
    for file in sorted(folder.rglob("*.py")):
        name = ".".join(file.relative_to(folder).with_suffix("").parts)
        yield name, ast.parse(file.read_text(encoding="utf-8"), str(file))


def _imports(folder: Path) -> Iterator[tuple[str, str]]:
    """
    Yield each module and what it imports, wherever in it that stands.
    """
    for module, tree in _modules(folder):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield module, alias.name
            elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
                yield module, node.module


def _mentions(tree: ast.Module, word: str) -> bool:
    """
    Whether *word* is a name, an attribute, an argument or a text in *tree*.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=found) | ast.Attribute(attr=found) | ast.alias(name=found) if found == word:
                return True
            case ast.keyword(arg=found) | ast.Constant(value=found) if found == word:
                return True
            case _:
                pass
    return False


def _is_frozen(settings_type: type[Any]) -> bool:
    if issubclass(settings_type, msgspec.Struct):
        return settings_type.__struct_config__.frozen
    return dataclasses.is_dataclass(settings_type) and bool(
        vars(settings_type)["__dataclass_params__"].frozen
    )


def _field_names(settings_type: type[Any]) -> list[str]:
    if issubclass(settings_type, msgspec.Struct):
        return [field.encode_name for field in msgspec.structs.fields(settings_type)]
    return [field.name for field in dataclasses.fields(settings_type)]
