"""
``gateway delete``: erasing recordings.
"""

import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import click

from gateway.cli.options import run, say
from gateway.cli.server_options import server_options


@click.command()
@server_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--receipt",
    "receipt_path",
    type=click.Path(path_type=Path),
    help="Save the receipt in this new file instead of printing it; in a folder, as ID.json.",
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
def delete(server: str, token: str, yes: bool, receipt_path: Path | None, ids: tuple[uuid.UUID, ...]) -> None:
    """
    Erase recordings for good; print the receipt of each as JSON.

    Their keys are shredded, and no backup brings them back.
    `gateway receipt verify` checks a receipt again, at any time and without the server.
    """
    from gateway.cli.client.erasures import describe_recordings, erase_recordings

    wanted = [str(recording_id) for recording_id in dict.fromkeys(ids)]
    targets = _targets(receipt_path, wanted)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at: give --yes")
        say(f"To be erased from {server}:")
        for line in run(describe_recordings(server, token, wanted)):
            say(f"  {line}")
        question = f"Erase {'it' if len(wanted) == 1 else f'these {len(wanted)} recordings'} for good?"
        click.confirm(question, abort=True, err=True)
    if not run(erase_recordings(server, token, wanted, targets)):
        raise click.exceptions.Exit(1)


def _targets(receipt_path: Path | None, ids: Sequence[str]) -> dict[str, Path]:
    """
    Return where each receipt goes; what would hinder saving it is found before anything is erased.
    """
    if receipt_path is None:
        return {}
    if receipt_path.is_dir():
        targets = {recording_id: receipt_path / f"{recording_id}.json" for recording_id in ids}
    elif len(ids) == 1:
        targets = {ids[0]: receipt_path}
    else:
        raise click.BadParameter(
            f"{receipt_path} is no folder, for {len(ids)} receipts", param_hint="--receipt"
        )
    for target in targets.values():
        if target.exists():
            raise click.BadParameter(f"{target} exists already", param_hint="--receipt")
        if not target.parent.is_dir():
            raise click.BadParameter(f"there is no folder {target.parent}", param_hint="--receipt")
    return targets
