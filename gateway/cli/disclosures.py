"""
``gateway disclosure``: to whom, outside of this organisation, something of a user's went.
"""

import json
from pathlib import Path
from typing import Any

import click

from gateway.base.ids import UserId
from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def disclosure() -> None:
    """
    Note what was given to others, and show it.

    The gateway itself notes linked clouds, sign-in providers and senders of codes.
    """


@disclosure.command("add")
@installation_options
@click.option("--to", "recipient", required=True, help="Who got it: a company, an authority, a person.")
@click.option("--what", required=True, help="What was given.")
@click.option("--why", required=True, help="Why, and on what ground.")
@click.argument("user_id", metavar="USER")
def add(
    config: Path | None, data_dir: Path | None, recipient: str, what: str, why: str, user_id: str
) -> None:
    """
    Note that something of USER was given to somebody; he can read all of it.
    """
    run(_add(load_settings(config, data_dir), UserId(user_id), recipient, what, why))
    say("Noted.")


async def _add(settings: Settings, user_id: UserId, recipient: str, what: str, why: str) -> None:
    from gateway.console import open_console

    async with open_console(settings) as console:
        await console.disclosures.add(user_id, by=console.actor, recipient=recipient, what=what, why=why)


@disclosure.command("list")
@installation_options
@click.option("--reason", required=True, help="Why you look; the user can read it.")
@click.option("--year", type=int, help="A calendar year, UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.argument("user_id", metavar="USER")
def list_all(
    config: Path | None, data_dir: Path | None, reason: str, year: int | None, as_json: bool, user_id: str
) -> None:
    """
    Show what of USER went to others.
    """
    rows = run(_list(load_settings(config, data_dir), UserId(user_id), reason, year))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    titles = ("at", "kind", "recipient", "what", "why")
    print_table(titles, [list(row.values()) for row in rows], empty="Nothing went to anybody.")


async def _list(settings: Settings, user_id: UserId, reason: str, year: int | None) -> list[dict[str, Any]]:
    from gateway.base.wording import format_time
    from gateway.console import open_console

    async with open_console(settings) as console:
        user = await console.accounts.get_user(user_id)
        await console.audit.note(console.actor, "user.looked-at", user=user, reason=reason)
        found = await console.disclosures.of(user, year=year)
    return [
        {
            "at": format_time(view.at),
            "kind": view.kind,
            "recipient": view.recipient,
            "what": view.what,
            "why": view.why,
        }
        for view in found
    ]
