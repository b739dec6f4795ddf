"""
``gateway plugin new``: a storage plugin to begin with, which works.
"""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final

import click

from gateway.cli.options import say

_NAME: Final = re.compile(r"(?=.{1,32}\Z)[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
_TEMPLATE: Final = ".in"
_PACKAGE: Final = "package"


@click.command()
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write it; a new folder.  [default: ./gateway-NAME]",
)
def new(name: str, folder: Path | None) -> None:
    """
    Write a plugin for a new kind of storage, called NAME, that keeps the whole contract in a local folder.

    NAME is what settings call it: lower-case words of letters and digits, joined by hyphens.
    """
    if _NAME.fullmatch(name) is None:
        raise click.BadParameter(
            f"{name!r} is no name for a kind of storage: lower-case words, at most 32 characters in all.",
            param_hint="NAME",
        )
    folder = folder or Path(f"gateway-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.BadParameter(f"{folder} is there already, and not empty.", param_hint="--folder")
    words = name.split("-")
    values = {
        "name": name,
        "package": f"gateway_{'_'.join(words)}",
        "title": " ".join(word.capitalize() for word in words),
        "Class": "".join(word.capitalize() for word in words),
    }
    _write(files("gateway.cli") / "skeleton", folder, values)
    click.echo(str(folder))
    say(f"A plugin for {values['title']}. README.md says what to do next.")


def _write(templates: Traversable, folder: Path, values: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for template in templates.iterdir():
        if template.is_dir():
            inner = values["package"] if template.name == _PACKAGE else template.name
            _write(template, folder / inner, values)
        else:
            text = Template(template.read_text("utf-8")).substitute(values)
            (folder / template.name.removesuffix(_TEMPLATE)).write_text(text, "utf-8")
