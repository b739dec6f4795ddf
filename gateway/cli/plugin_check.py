"""
``gateway plugin check``: whether a live place keeps the promises of a storage backend.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.base.errors import ConfigurationError
from gateway.cli.options import installation_options, load_settings, say
from gateway.cli.terminal import counted, printable
from gateway.settings import environment_without

if TYPE_CHECKING:
    # Needs pytest, which an installation for serving does not have.
    from gateway.testing.live import Outcome, Result, Watch


@click.command()
@click.argument("kind", metavar="NAME")
@installation_options
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The place's settings (TOML), as in [home.settings].  [default: those of the home]",
)
@click.option("--account", metavar="LINK_ID", help="Check the account that a user linked under this id.")
@click.option(
    "--small", "is_small", is_flag=True, help="Put less data; what only large blobs show is not seen."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a report.")
def check(
    kind: str,
    config: Path | None,
    data_dir: Path | None,
    settings_file: Path | None,
    account: str | None,
    is_small: bool,
    as_json: bool,
) -> None:
    """
    Check that a live place of the kind NAME keeps every promise of a storage backend.

    Puts blobs there, reads them, deletes them, and leaves nothing behind; blobs of others are not touched.
    The exit status is 1 if a promise is broken.
    """
    from gateway.cli.plugin_places import linked_place, operators_place

    if account is not None and settings_file is not None:
        raise click.UsageError("--account and --settings name two different places.")
    settings = load_settings(config, data_dir)
    if account is not None:
        opening = linked_place(settings, kind, account)
    else:
        opening = operators_place(settings, kind, settings_file)
    try:
        from gateway.testing.live import check_place
    except ImportError as error:
        raise ConfigurationError(
            f"the check needs pytest and pytest-asyncio ({error}): pip install 'recording-gateway[testing]'"
        ) from error
    # Pytest would take options, and plugins, from there that its user has set for tests of his own.
    with _watched() as watch, environment_without("PYTEST_"):
        result = check_place(opening, watch, is_small=is_small)
    if as_json:
        click.echo(json.dumps(_document(kind, result), indent=2, ensure_ascii=False))
    else:
        _report(kind, result)
    if not result.is_good:
        raise SystemExit(1)


@dataclass
class _Promise:
    """
    A fact that one test states, over all of its cases.
    """

    words: str
    cases: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, str]] = field(default_factory=list)
    """The case, and what went wrong."""


def _promises(outcomes: "list[Outcome]") -> list[_Promise]:
    found: dict[str, _Promise] = {}
    for outcome in outcomes:
        promise = found.setdefault(outcome.test, _Promise(outcome.promise))
        promise.cases += 1
        promise.seconds += outcome.seconds
        if outcome.reason is not None:
            promise.failures.append((outcome.case, outcome.reason))
    return list(found.values())


def _document(kind: str, result: "Result") -> dict[str, Any]:
    return {
        "kind": kind,
        "kept": result.is_good,
        "complete": result.is_complete,
        "puts_in_parts": result.is_resumable,
        "held_before": result.held,
        "appeared": result.appeared,
        "promises": [
            {
                "promise": promise.words,
                "kept": not promise.failures,
                "cases": promise.cases,
                "seconds": round(promise.seconds, 3),
                "failures": [{"case": case, "reason": reason} for case, reason in promise.failures],
            }
            for promise in _promises(result.outcomes)
        ],
    }


def _report(kind: str, result: "Result") -> None:
    promises = _promises(result.outcomes)
    for promise in promises:
        mark = "✗" if promise.failures else "✓"
        click.echo(f"{mark} {promise.words}  ({promise.seconds:.1f} s)")
        for case, reason in promise.failures:
            click.echo(f"    {f'{case}: ' if case else ''}{printable(reason)}")
    broken = sum(1 for promise in promises if promise.failures)
    if not result.is_complete:
        say("The check was ended early.")
    if not result.is_resumable:
        say("Puts in parts are not offered here.")
    if result.appeared:
        say(
            f"{counted(result.appeared, 'blob')} came up that this check did not put. "
            "Unless something else writes to the place, the plugin left them there."
        )
    kept = len(promises) - broken
    say(f"{kind}: {counted(kept, 'promise')} kept, {broken} broken; nothing of the check was left behind.")


class _Quiet:
    def begun(self, tests: int) -> None:
        """
        Say nothing.
        """

    def ended(self, outcome: "Outcome") -> None:
        """
        Say nothing.
        """


@contextmanager
def _watched() -> "Iterator[Watch]":
    """
    Show how the check comes along: a bar for a person, nothing for a log.
    """
    if not sys.stderr.isatty():
        yield _Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bars = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
    task = bars.add_task("connecting", total=None)

    class Bar:
        def begun(self, tests: int) -> None:
            bars.update(task, total=tests, description="")

        def ended(self, outcome: "Outcome") -> None:
            bars.update(task, advance=1, description=outcome.promise)

    with bars:
        yield Bar()
