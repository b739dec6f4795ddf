"""
``gateway policy``: the text that users are asked to accept.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def policy() -> None:
    """
    Publish versions of the policy, and see how many accepted them.
    """


@policy.command("publish")
@installation_options
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--effective",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="The day from which it is in force, 00:00 UTC.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
def publish(config: Path | None, data_dir: Path | None, file: Path, effective: datetime, yes: bool) -> None:
    """
    Publish FILE as the next version, tell all users, and print its number.

    A name that ends with .md is Markdown, any other is taken as text. What is published cannot be changed or withdrawn.
    """
    if not yes:
        click.confirm(f"Publish {file} and tell all users?", abort=True, err=True)
    try:
        body = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(str(error), param_hint="FILE") from None
    effective_at = int(effective.replace(tzinfo=UTC).timestamp()) * 1000
    is_markdown = file.suffix.lower() == ".md"
    settings = load_settings(config, data_dir)
    click.echo(run(_publish(settings, body, effective_at, is_markdown=is_markdown)))
    say("The daemon tells all users, batch by batch; gateway notice list says how far it is.")


async def _publish(settings: Settings, body: str, effective_at: int, *, is_markdown: bool) -> int:
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console

    # What it logs is the record of who did what; it belongs on stderr.
    configure_logs(settings.log)
    async with open_console(settings) as console:
        published = await console.policies.publish(
            body,
            format="markdown" if is_markdown else "text",
            effective_at=effective_at,
        )
        await console.audit.note(console.actor, "policy.published", facts={"version": published.version})
    return published.version


@policy.command("list")
@installation_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_all(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """
    Show every version, latest first.
    """
    rows = run(_list(load_settings(config, data_dir)))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from gateway.cli.tables import print_table

    print_table(
        ("version", "published", "in force from", "in force", "accepted by"),
        [list(row.values()) for row in rows],
        empty="No policy is published: gateway policy publish FILE --effective DAY does that.",
    )


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from gateway.base.wording import format_time
    from gateway.console import open_console

    async with open_console(settings) as console:
        versions = await console.policies.list_all()
        accepted = await console.policies.count_acceptances()
        in_force = console.policies.in_force_of(versions)
    return [
        {
            "version": each.version,
            "published_at": format_time(each.published_at),
            "effective_at": format_time(each.effective_at),
            "is_in_force": each == in_force,
            "accepted_by": accepted.get(each.version, 0),
        }
        for each in versions
    ]
