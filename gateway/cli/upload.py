"""
``gateway upload``: files to recordings, going on where a connection or an earlier run ended.
"""

import secrets
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import click

from gateway.cli.options import run, say
from gateway.cli.server_options import server_options


def _as_time(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("is no time such as 2026-01-31T14:05:00Z") from None
    return (moment if moment.tzinfo else moment.astimezone()).isoformat()


def _as_labels(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> str | None:
    for label in value:
        if "," in label or not label.strip():
            raise click.BadParameter("a label is neither empty nor does it hold a comma")
    return ",".join(value) or None


@click.command()
@server_options
@click.option("--direction", type=click.Choice(["in", "out"]), help="Which way the call went.")
@click.option("--party-number", metavar="NUMBER", help="The other party's number.")
@click.option("--party-name", metavar="NAME", help="The other party's name.")
@click.option("--note", metavar="TEXT", help="Anything else to remember.")
@click.option(
    "--label",
    "labels",
    metavar="LABEL",
    multiple=True,
    callback=_as_labels,
    help="A label; may be repeated.",
)
@click.option(
    "--recorded-at",
    metavar="TIME",
    callback=_as_time,
    help='When the call took place: 2026-01-31T14:05:00Z, or "2026-01-31 14:05" by this machine\'s clock.',
)
@click.option(
    "--state-dir",
    envvar="XDG_STATE_HOME",
    show_envvar=True,
    default="~/.local/state",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where a secret is kept, by which a second run finds the uploads of the first.",
)
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
)
def upload(server: str, token: str, state_dir: Path, files: tuple[Path, ...], **details: str | None) -> None:
    """
    Upload recordings; print the id of each, one a line.

    A lost connection is taken up again by itself.
    After Ctrl-C, or when the server stayed away for too long, the same command goes on where it ended.
    """
    from gateway.cli.client.uploading import upload_files

    told = {name: value for name, value in details.items() if value is not None}
    secret = _resuming_secret(state_dir.expanduser())
    try:
        are_all_there = run(upload_files(server, token, files, told, secret))
    except KeyboardInterrupt:
        say("Interrupted. The same command goes on where this one ended.")
        raise
    if not are_all_there:
        raise click.exceptions.Exit(1)


def _resuming_secret(state_dir: Path) -> bytes:
    """
    Return this user's secret, made once; for this run only, where it cannot be kept.
    """
    file = state_dir / "recording-gateway" / "upload-secret"
    try:
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
            fresh.touch(mode=0o600)
            fresh.write_bytes(secrets.token_bytes(32))
            # The first of two that do this at once wins, and the file is never there in part.
            with suppress(FileExistsError):
                file.hardlink_to(fresh)
            fresh.unlink()
        return file.read_bytes()
    except OSError as error:
        say(f"{file} cannot be kept ({error.strerror}): another run will not go on with this one's uploads.")
        return secrets.token_bytes(32)
