"""
Options that several commands share, and what follows from them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.settings import Settings

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


def installation_options(command: F) -> F:
    """
    Add the options that say which installation is meant.
    """
    command = click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where the installation keeps its data.  [default: ./gateway-data]",
    )(command)
    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="GATEWAY_CONFIG",
        help="A settings file (TOML).",
    )(command)


def load_settings(
    config: Path | None, data_dir: Path | None, *, server: dict[str, Any] | None = None
) -> Settings:
    """
    Return the settings that the options lead to.
    """
    overrides: dict[str, dict[str, Any]] = {}
    if data_dir is not None:
        overrides["data"] = {"dir": str(data_dir)}
    given = {key: value for key, value in (server or {}).items() if value is not None}
    if given:
        overrides["server"] = given
    return Settings.load(config, overrides=overrides)


def run(work: Coroutine[Any, Any, T]) -> T:
    """
    Run a command's work.
    """
    return asyncio.run(work)


def say(text: str) -> None:
    """
    Tell a person something, beside what a script reads.
    """
    click.echo(text, err=True)
