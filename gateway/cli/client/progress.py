"""
How a transfer comes along: a bar for a person, nothing for a log.

Always on stderr; stdout belongs to what a script reads.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gateway.cli.terminal import printable


class Transfer:
    """
    One file on its way, where nobody watches.
    """

    def move_to(self, position: int) -> None:
        """
        Show that *position* bytes have gone.
        """

    def say(self, text: str) -> None:
        """
        Tell something about it.
        """
        click.echo(text, err=True)

    def finish(self, text: str) -> None:
        """
        Tell that it is done, where no bar has shown it.
        """
        click.echo(text, err=True)


class _TransferWithBar(Transfer):
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def move_to(self, position: int) -> None:
        self._bars.update(self._task, completed=position)

    def say(self, text: str) -> None:
        # Above the bar, which is drawn again below it.
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finish(self, text: str) -> None:
        del text


@contextmanager
def shown_transfer(name: str, size: int) -> Iterator[Transfer]:
    """
    Show one transfer of *size* bytes while the context lasts.
    """
    if not sys.stderr.isatty():
        yield Transfer()
        return
    # Redirection would catch what others print on stdout and draw it on stderr.
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bars:
        yield _TransferWithBar(bars, bars.add_task(printable(name), total=size))
