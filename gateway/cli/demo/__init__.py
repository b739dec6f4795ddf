"""
``gateway demo``: the whole life of a recording, shown on a gateway of its own.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import click

from gateway.cli.options import run, say


@click.command()
@click.option("--keep", is_flag=True, help="Keep the folder with all that the demo made.")
def demo(keep: bool) -> None:
    """
    Show the whole life of a recording on a gateway of its own.

    Each claim is checked while it is made; the exit status is 1 if one does not hold.
    All of it takes place in a temporary folder, which is removed at the end.
    """
    from gateway.cli.demo.stage import StepFailed
    from gateway.cli.demo.story import tell

    folder = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    try:
        run(tell(folder))
    except StepFailed as failure:
        say(f"\nIt did not hold: {failure}")
        sys.exit(1)
    finally:
        if keep:
            say(f"\nEverything is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
