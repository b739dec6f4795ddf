"""
Reading settings from TOML: files, and single values as the environment has them.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.base.errors import ConfigurationError


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
