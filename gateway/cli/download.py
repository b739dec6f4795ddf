"""
``gateway download``: a recording's audio into a file, going on where a connection or an earlier run ended.
"""

import uuid
from pathlib import Path

import click

from gateway.cli.options import run, say
from gateway.cli.server_options import server_options


@click.command()
@server_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write: a file, a folder, or - for standard output.  [default: its own name, in this folder]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.argument("recording_id", metavar="ID", type=click.UUID)
def download(server: str, token: str, output: str | None, force: bool, recording_id: uuid.UUID) -> None:
    """
    Download a recording; print the name of the file.

    A lost connection is taken up again by itself; after Ctrl-C, the same command goes on where it ended.
    """
    from gateway.cli.client.downloads import print_recording, save_recording

    if output == "-":
        run(print_recording(server, token, str(recording_id)))
        return
    target = None if output is None else Path(output)
    try:
        click.echo(run(save_recording(server, token, str(recording_id), target, may_replace=force)))
    except KeyboardInterrupt:
        say("Interrupted. The same command goes on where this one ended.")
        raise
