"""
Reading settings from TOML: files, and single values as the environment has them.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.base.errors import ConfigurationError

_FILE_SUFFIX: Final = "__FILE"


def read_tables(file: Path) -> dict[str, Any]:
    """
    Return the tables of a TOML file.

    Raises:
        ConfigurationError: it cannot be read, or holds something outside of any table.
    """
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"settings file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"settings file {file}: {error}") from error
    for table, entries in content.items():
        if not isinstance(entries, dict):
            raise ConfigurationError(f"settings file {file}: {table} stands outside of any [section]")
    return content


def merge_tables(
    tables: dict[str, dict[str, Any]],
    sources: dict[str, str],
    added: Mapping[str, Mapping[str, Any]],
    source: str,
) -> None:
    """
    Put *added* over *tables*, and note its *source* for each key.
    """
    for table, entries in added.items():
        for key, value in entries.items():
            tables.setdefault(table, {})[key] = value
            sources[f"{table}.{key}"] = source


def parse_value(text: str) -> Any:
    """
    Read *text* as a TOML value; what is none is taken as the text it is.
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def merge_variable(
    tables: dict[str, dict[str, Any]], sources: dict[str, str], name: str, text: str, *, prefix: str
) -> None:
    """
    Merge into *tables* what the environment variable *name* says, noting in *sources* where it came from.

    After *prefix* its name has a section and a key, and perhaps what leads into the key's table, parted by two
    underscores; with ``__FILE`` at its end, *text* is the path of a file that holds the value, taken as the text it is.

    Raises:
        ConfigurationError: the file cannot be read, or the variable without ``__FILE`` was merged before.
    """
    section, key, *inner = name.removeprefix(prefix).lower().split("__")
    is_file = bool(inner) and name.endswith(_FILE_SUFFIX)
    if is_file:
        del inner[-1]
    if key == "kinds" and inner:
        # A variable's name has no hyphen, and a kind's no underscore.
        inner[0] = inner[0].replace("_", "-")
    setting = ".".join([section, key, *inner])
    source = f"the environment's {name}"
    if is_file and sources.get(setting) == source.removesuffix(_FILE_SUFFIX):
        raise ConfigurationError(
            f"setting {setting}: there are both {name.removesuffix(_FILE_SUFFIX)} and {name}; keep one of them"
        )
    value = _read_value(Path(text), setting, source) if is_file else parse_value(text)
    placed = _placed(tables.get(section, {}).get(key), inner, value)
    merge_tables(tables, sources, {section: {key: placed}}, source)
    sources[setting] = source


def _placed(table: Any, path: list[str], value: Any) -> Any:
    """
    Return *table* with *value* at *path* in it; what is no table gives way to one.
    """
    if not path:
        return value
    first, *rest = path
    entries = table if isinstance(table, dict) else {}
    return {**entries, first: _placed(entries.get(first), rest, value)}


def _read_value(file: Path, setting: str, source: str) -> str:
    try:
        return file.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigurationError(f"setting {setting} from {source}: {file}: {reason}") from error
