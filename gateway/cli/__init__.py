"""
The command line. Parses and prints; decides nothing.

What a script may rely on is printed on stdout; everything else a command has to say goes to stderr.
Exit status: 0 done, 1 failed, 2 wrong usage.
"""

import sys

import click

from gateway import __version__
from gateway.base.errors import GatewayError
from gateway.cli.audit import audit
from gateway.cli.delete import delete
from gateway.cli.demo import demo
from gateway.cli.disclosures import disclosure
from gateway.cli.download import download
from gateway.cli.holds import hold
from gateway.cli.jobs import job
from gateway.cli.notices import notice
from gateway.cli.places import link, move, route
from gateway.cli.plugins import plugin
from gateway.cli.policies import policy
from gateway.cli.receipts import receipt
from gateway.cli.recordings import recordings
from gateway.cli.retention import retention
from gateway.cli.scrub import scrub
from gateway.cli.serve import serve
from gateway.cli.tokens import token
from gateway.cli.upload import upload
from gateway.cli.users import user


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gateway")
def commands() -> None:
    """
    Keep call recordings, each sealed under its user's own key.

    Run the daemon with `gateway serve`, make a user with `gateway user add`.
    """


for command in (
    serve,
    demo,
    user,
    token,
    upload,
    recordings,
    download,
    delete,
    receipt,
    link,
    route,
    move,
    job,
    hold,
    retention,
    notice,
    policy,
    audit,
    disclosure,
    scrub,
    plugin,
):
    commands.add_command(command)


def main() -> None:
    """
    Run the command line and exit.
    """
    try:
        commands(standalone_mode=True)
    except GatewayError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
