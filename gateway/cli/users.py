"""
``gateway user``: the people who store recordings.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from gateway.base.ids import UserId
from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings

_POLL_S = 0.2


@click.group()
def user() -> None:
    """
    Add, list and erase users.
    """


@user.command("add")
@installation_options
@click.option("--name", required=True, help="What the user is called.")
@click.option("--phone", help="A phone number.")
@click.option("--email", help="An e-mail address.")
def add(config: Path | None, data_dir: Path | None, name: str, phone: str | None, email: str | None) -> None:
    """
    Make a user and print the id.
    """
    click.echo(run(_add(load_settings(config, data_dir), name, phone, email)))


async def _add(settings: Settings, name: str, phone: str | None, email: str | None) -> str:
    from gateway.console import open_console

    async with open_console(settings) as console:
        user_id = await console.accounts.add_user(name=name, phone=phone, email=email)
        await console.audit.note(console.actor, "user.added", user=await console.accounts.get_user(user_id))
        return user_id


@user.command("list")
@installation_options
@click.option(
    "--reason",
    help="Show names, numbers and addresses, too. This is your reason to look; each user can read it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_users(config: Path | None, data_dir: Path | None, reason: str | None, as_json: bool) -> None:
    """
    Show all users: their ids, and how much they have.
    """
    rows = run(_list(load_settings(config, data_dir), reason))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    titles = ("id", "state", "recordings", *(("name", "phone", "email") if reason is not None else ()))
    print_table(
        titles,
        [[row[title] for title in titles] for row in rows],
        empty="There are no users yet: gateway user add --name NAME makes one.",
    )


async def _list(settings: Settings, reason: str | None) -> list[dict[str, Any]]:
    from gateway.base.wording import format_time
    from gateway.console import open_console

    async with open_console(settings) as console:
        counted = [pair async for pair in console.accounts.counted_users()]
        if reason is not None:
            active = [user for user, _ in counted if user.is_active]
            await console.audit.note_looks(console.actor, "user.looked-at", active, reason)
        rows = []
        for user, recordings in counted:
            row = {
                "id": user.id,
                "state": user.state,
                "created_at": format_time(user.created_at),
                "recordings": recordings,
            }
            if reason is not None:
                personal = await console.accounts.personal_of(user)
                for field in ("name", "phone", "email"):
                    row[field] = None if personal is None else getattr(personal, field)
            rows.append(row)
    return rows


@user.command("erase")
@installation_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--later", is_flag=True, help="After the cooling-off time, as if the user had asked; he may take it back."
)
@click.option(
    "--basis",
    type=click.Choice(["asked-by-user", "legal-order", "abuse", "not-told"]),
    default="not-told",
    help="Why, for the audit log.",
)
@click.argument("user_id", metavar="USER")
def erase(
    config: Path | None, data_dir: Path | None, yes: bool, later: bool, basis: Any, user_id: str
) -> None:
    """
    Erase a user: shred everything he had, for good. Prints the receipt.
    """
    settings = load_settings(config, data_dir)
    if not yes:
        click.confirm(
            f"Everything of user {user_id} will be gone for good; no backup brings it back. Go on?",
            abort=True,
            err=True,
        )
    work = _erase_later(settings, user_id, basis) if later else _erase(settings, user_id, basis)
    click.echo(json.dumps(run(work), indent=2))


async def _erase(settings: Settings, user_id: str, basis: Any) -> Any:
    import msgspec

    from gateway.cli.logs import configure_logs
    from gateway.console import open_console
    from gateway.http.me_shapes import farewell_document

    # What it logs is the record of what was done; it belongs on stderr.
    configure_logs(settings.log)
    async with open_console(settings) as console:
        salt = await console.erasure.bury_account(UserId(user_id), by=console.actor, basis=basis)
        say("Revoked: nothing of this user is served any more. Shredding.")
        if console.is_alone:
            await console.erasure.shred_account(UserId(user_id), salt=salt)
        farewell = await console.leaving.farewell_of(UserId(user_id), salt=salt)
        while not farewell.erasure.receipts:
            # The daemon does it; it alone may shred while it runs.
            await asyncio.sleep(_POLL_S)
            farewell = await console.leaving.farewell_of(UserId(user_id), salt=salt)
    say(
        "Shredded. The daemon deletes the sealed blobs next, when it runs, and replaces the look-up key after that."
    )
    return msgspec.to_builtins(farewell_document(farewell))


async def _erase_later(settings: Settings, user_id: str, basis: Any) -> Any:
    import msgspec

    from gateway.cli.logs import configure_logs
    from gateway.console import open_console
    from gateway.http.me_shapes import asked_document

    configure_logs(settings.log)
    async with open_console(settings) as console:
        user = await console.accounts.get_user(UserId(user_id))
        await console.audit.note(console.actor, "user.erasure-asked", user=user, facts={"basis": basis})
        leaving, salt = await console.leaving.ask(user)
    say("He is signed out, and is erased after the time that is told; `gateway user stay` takes it back.")
    return msgspec.to_builtins(asked_document(user, leaving, salt))


@user.command("stay")
@installation_options
@click.argument("user_id", metavar="USER")
def stay(config: Path | None, data_dir: Path | None, user_id: str) -> None:
    """
    Take back that a user is about to be erased.
    """
    run(_stay(load_settings(config, data_dir), user_id))
    say("He stays.")


async def _stay(settings: Settings, user_id: str) -> None:
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console

    configure_logs(settings.log)
    async with open_console(settings) as console:
        user = await console.accounts.get_user(UserId(user_id))
        await console.leaving.stay(user)
        await console.audit.note(console.actor, "user.erasure-taken-back", user=user)
