"""
``gateway retention``: what has expired, and whether a sweep waits for someone.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def retention() -> None:
    """
    Show how expiry stands, and let a sweep that waits go on.
    """


@retention.command("show")
@installation_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """
    Show when the last sweep was, and what waits.
    """
    state = run(_show(load_settings(config, data_dir)))
    if as_json:
        click.echo(json.dumps(state, indent=2))
        return
    click.echo(f"Last time that was believed: {state['believed_at'] or 'none yet'}")
    click.echo(f"Last sweep:                  {state['swept_at'] or 'none yet'}")
    accounts = state["accounts_stop"]
    if accounts is not None:
        click.echo(f"{accounts['due']} unused accounts wait since {accounts['stopped_at']} to be erased.")
        if accounts["approved_at"] is None:
            click.echo(
                "If that is meant: gateway retention approve-accounts "
                f"--accounts {accounts['due']} --unused-until {accounts['ends_before'][:10]}"
            )
    stop = state["stop"]
    if stop is None:
        click.echo("No sweep waits.")
        return
    click.echo(f"A sweep waits since {stop['stopped_at']}: {stop['reason']}.")
    click.echo(f"{stop['due']} recordings that were stored before {stop['stored_before']} would expire.")
    if stop["approved_at"] is None:
        day = stop["stored_before"][:10]
        click.echo(
            "If today's date is right and that is meant: "
            f"gateway retention approve --recordings {stop['due']} --stored-before {day}"
        )
    else:
        click.echo("It is approved, and goes on by itself.")


async def _show(settings: Settings) -> dict[str, Any]:
    from gateway.base.wording import format_time
    from gateway.console import open_console

    def told(at: int | None) -> str | None:
        return format_time(at) if at else None

    async with open_console(settings) as console:
        state = await console.retention.state()
        accounts = await console.unused.waiting()
    stop = state.stop
    return {
        "believed_at": told(state.believed_at),
        "swept_at": told(state.swept_at),
        "stop": None
        if stop is None
        else {
            "reason": stop.reason,
            "due": stop.due,
            "stored_before": told(stop.stored_before),
            "stopped_at": told(stop.stopped_at),
            "approved_at": told(stop.approved_at),
        },
        "accounts_stop": None
        if accounts is None
        else {
            "due": accounts.due,
            "ends_before": told(accounts.stored_before),
            "stopped_at": told(accounts.stopped_at),
            "approved_at": told(accounts.approved_at),
        },
    }


@retention.command("approve")
@installation_options
@click.option("--recordings", "due", type=click.IntRange(0), required=True, help="How many will expire.")
@click.option(
    "--stored-before",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="The day before which they were stored, as `gateway retention show` tells it.",
)
def approve(config: Path | None, data_dir: Path | None, due: int, stored_before: datetime) -> None:
    """
    Say that the sweep that waits is meant; what expires is gone for good.
    """
    at = int(stored_before.replace(tzinfo=UTC).timestamp()) * 1000
    run(_approve(load_settings(config, data_dir), due, at))
    say("Approved; the daemon goes on with it within a minute or so.")


async def _approve(settings: Settings, due: int, stored_before: int) -> None:
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console

    # What it logs is the record of who did what; it belongs on stderr.
    configure_logs(settings.log)
    async with open_console(settings) as console:
        await console.retention.approve(by=console.actor, due=due, stored_before=stored_before)


@retention.command("approve-accounts")
@installation_options
@click.option("--accounts", "due", type=click.IntRange(0), required=True, help="How many will be erased.")
@click.option(
    "--unused-until",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="The day until which nobody used them, as `gateway retention show` tells it.",
)
def approve_accounts(config: Path | None, data_dir: Path | None, due: int, unused_until: datetime) -> None:
    """
    Say that accounts which nobody uses are meant to be erased, however many they are.
    """
    at = int(unused_until.replace(tzinfo=UTC).timestamp()) * 1000
    run(_approve_accounts(load_settings(config, data_dir), due, at))
    say("Approved; the daemon goes on with it within a minute or so.")


async def _approve_accounts(settings: Settings, due: int, ends_before: int) -> None:
    from gateway.base.clock import SystemClock
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console

    # What it logs is the record of who did what; it belongs on stderr.
    configure_logs(settings.log)
    async with open_console(settings) as console:
        await console.unused.approve(
            by=console.actor, due=due, ends_before=ends_before, at=SystemClock().now_ms()
        )
