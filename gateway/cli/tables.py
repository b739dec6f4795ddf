"""
Tables for people.
"""

import sys
from collections.abc import Collection, Sequence
from typing import Final

import click

from gateway.cli.terminal import printable

_WIDEST: Final = 10_000


def print_table(
    titles: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    empty: str,
    unbroken: Collection[str] = ("id",),
) -> None:
    """
    Print *rows* on stdout, or *empty* on stderr if there are none.

    Where the terminal is too narrow, cells are broken into lines, but not those of the columns *unbroken*.
    """
    if not rows:
        click.echo(empty, err=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in unbroken)
    for row in rows:
        # What a cell says was said by somebody else: neither the terminal nor rich is to obey it.
        table.add_row(*[Text("" if cell is None else printable(str(cell))) for cell in row])
    # Where no terminal has a width, a row stays on its line.
    Console(width=None if sys.stdout.isatty() else _WIDEST).print(table)
