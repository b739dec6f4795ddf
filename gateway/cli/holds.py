"""
``gateway hold``: what must not be erased, whoever asks for it.
"""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.base.ids import RecordingId, UserId
from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def hold() -> None:
    """
    Keep recordings from being erased, for as long as a law or a court says.
    """


@hold.command("place")
@installation_options
@click.option("--recording", type=click.UUID, help="Hold this recording alone, not all that the user has.")
@click.option("--reason", required=True, help="Why; it is sealed under the user's own key.")
@click.option("--tells-user", is_flag=True, help="Let the user see that, and why, it is held.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="When it ends by itself, 00:00 UTC.")
@click.argument("user_id", metavar="USER")
def place(
    config: Path | None,
    data_dir: Path | None,
    recording: uuid.UUID | None,
    reason: str,
    tells_user: bool,
    until: datetime | None,
    user_id: str,
) -> None:
    """
    Hold all that USER has and will have, and print the hold's id.
    """
    ends_at = None if until is None else int(until.replace(tzinfo=UTC).timestamp()) * 1000
    settings = load_settings(config, data_dir)
    click.echo(run(_place(settings, user_id, recording, reason, tells_user=tells_user, ends_at=ends_at)))


async def _place(
    settings: Settings,
    user_id: str,
    recording: uuid.UUID | None,
    reason: str,
    *,
    tells_user: bool,
    ends_at: int | None,
) -> str:
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console
    from gateway.services.holds import Cause

    # What it logs is the record of who did what; it belongs on stderr.
    configure_logs(settings.log)
    async with open_console(settings) as console:
        return await console.holds.place(
            UserId(user_id),
            Cause(reason=reason, placed_by=console.actor.id),
            by=console.actor,
            recording_id=None if recording is None else RecordingId(recording),
            tells_user=tells_user,
            ends_at=ends_at,
        )


@hold.command("list")
@installation_options
@click.option("--all", "with_ended", is_flag=True, help="Lifted and ended ones too.")
@click.option(
    "--reason",
    help="Show who placed each hold, and why, too. This is your own reason to look; each user can read it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_all(
    config: Path | None, data_dir: Path | None, with_ended: bool, reason: str | None, as_json: bool
) -> None:
    """
    Show what is held.
    """
    rows = run(_list(load_settings(config, data_dir), with_ended=with_ended, reason=reason))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    titles = ("id", "user", "recording", "since", "until", "active", "told", "by", "reason")
    print_table(titles, [list(row.values()) for row in rows], empty="Nothing is held.")


async def _list(settings: Settings, *, with_ended: bool, reason: str | None) -> list[dict[str, Any]]:
    from gateway.base.wording import format_time
    from gateway.console import open_console

    async with open_console(settings) as console:
        if reason is None:
            views = await console.holds.list_holds()
        else:
            views = await console.holds.look_at_causes(by=console.actor, reason=reason)
    return [
        {
            "id": view.hold.id,
            "user_id": view.hold.user_id,
            "recording_id": None if view.hold.recording_id is None else str(view.hold.recording_id),
            "created_at": format_time(view.hold.created_at),
            "ends_at": None if view.hold.ends_at is None else format_time(view.hold.ends_at),
            "is_active": view.is_active,
            "tells_user": view.hold.tells_user,
            "placed_by": None if view.cause is None else view.cause.placed_by,
            "reason": None if view.cause is None else view.cause.reason,
        }
        for view in views
        if with_ended or view.is_active
    ]


@hold.command("lift")
@installation_options
@click.argument("hold_id", metavar="HOLD")
def lift(config: Path | None, data_dir: Path | None, hold_id: str) -> None:
    """
    End a hold. What was due meanwhile expires; what was refused must be asked for again.
    """
    run(_lift(load_settings(config, data_dir), hold_id))
    say("Lifted.")


async def _lift(settings: Settings, hold_id: str) -> None:
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console

    # What it logs is the record of who did what; it belongs on stderr.
    configure_logs(settings.log)
    async with open_console(settings) as console:
        await console.holds.lift(hold_id, by=console.actor)
