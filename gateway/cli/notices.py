"""
``gateway notice``: what users are told, and who was told when.
"""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gateway.base.ids import UserId
from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def notice() -> None:
    """
    Tell users something, and see who was told.
    """


@notice.command("send")
@installation_options
@click.option(
    "--kind",
    type=click.Choice(["announcement", "breach", "transfer"]),
    required=True,
    help="What it is about; everybody is told of a breach and of a transfer to a new owner.",
)
@click.option(
    "--to",
    required=True,
    metavar="all|FILE",
    help="All users, or a file of their ids, one on each line.",
)
@click.option(
    "--template",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="What it says, in Markdown; the first line is # and its title.",
)
@click.option("--promotional", is_flag=True, help="By e-mail only to those who asked for such mail.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def send(
    config: Path | None,
    data_dir: Path | None,
    kind: str,
    to: str,
    template: Path,
    promotional: bool,
    yes: bool,
) -> None:
    """
    Tell all users, or some, something in your own words, and print the notice's id.

    It is the same for all, and is kept in clear: nothing personal belongs in it.
    """
    title, body = _read_template(template)
    if not yes:
        whom = "all users" if to == "all" else f"the users in {to}"
        click.confirm(f"Tell {whom}: {title}?", abort=True, err=True)
    settings = load_settings(config, data_dir)
    click.echo(run(_send(settings, kind, title, body, to, promotional=promotional)))
    say("The daemon tells them, batch by batch; gateway notice show ID says how far it is.")


async def _send(settings: Settings, kind: str, title: str, body: str, to: str, *, promotional: bool) -> str:
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console

    # What it logs is the record of who did what; it belongs on stderr.
    configure_logs(settings.log)
    async with open_console(settings) as console:
        run_id = await console.announcing.announce(
            kind,
            title=title,
            body=body,
            is_promotional=promotional,
            to=None if to == "all" else _read_ids(Path(to)),
        )
        await console.audit.note(console.actor, "notice.announced", subject=run_id, facts={"kind": kind})
        return run_id


def _read_template(file: Path) -> tuple[str, str]:
    try:
        heading, _, body = file.read_text("utf-8").strip().partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(str(error), param_hint="--template") from None
    if not heading.startswith("# "):
        raise click.BadParameter(
            "its first line is no title, such as: # What happened", param_hint="--template"
        )
    return heading.removeprefix("# "), body


def _read_ids(file: Path) -> Iterator[UserId]:
    """
    Yield the ids in a file, which may be long.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield UserId(str(uuid.UUID(line.strip())))
                except ValueError:
                    raise click.BadParameter(
                        f"line {number} of {file} is no user's id; nobody was told", param_hint="--to"
                    ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file}: {error}", param_hint="--to") from None


@notice.command("list")
@installation_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_all(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """
    Show what many were told, latest first, and what became of the mails.
    """
    rows = run(_list(load_settings(config, data_dir)))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    print_table(
        ("id", "kind", "title", "to", "state", "since", "told", "sent", "waiting", "not sent"),
        [
            (
                row["id"],
                row["kind"],
                row["title"],
                row["to"],
                row["state"],
                row["created_at"],
                sum(row["mails"].values()),
                row["mails"].get("sent", 0),
                row["mails"].get("queued", 0),
                row["mails"].get("refused", 0) + row["mails"].get("given-up", 0),
            )
            for row in rows
        ],
        empty="Nothing was told to many yet.",
    )


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from gateway.console import open_console

    async with open_console(settings) as console:
        return [_run_row(view) for view in await console.announcing.list_runs()]


def _run_row(view: Any) -> dict[str, Any]:
    from gateway.base.wording import format_time

    found = view.run
    return {
        "id": found.id,
        "kind": found.kind,
        "title": found.facts.get("title") or f"Version {found.facts['version']} of the policy",
        "to": found.audience,
        "promotional": found.is_promotional,
        "state": found.state,
        "created_at": format_time(found.created_at),
        "ended_at": None if found.ended_at is None else format_time(found.ended_at),
        "mails": view.counts,
    }


@notice.command("show")
@installation_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.argument("notice_id", metavar="NOTICE|USER")
def show(config: Path | None, data_dir: Path | None, as_json: bool, notice_id: str) -> None:
    """
    Show who was told by a notice to many, or what a user was told, and when.

    What was told to one user alone is sealed; its kind is shown and not what it says.
    """
    rows = run(_show(load_settings(config, data_dir), notice_id))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    titles = ("user", "kind", "told", "read", "mail", "since", "tries", "reason")
    print_table(
        titles, [list(row.values()) for row in rows], empty="Nobody was told yet.", unbroken=("user",)
    )


async def _show(settings: Settings, wanted: str) -> list[dict[str, Any]]:
    from gateway.base.wording import format_time
    from gateway.catalog.notices import Notice
    from gateway.console import open_console
    from gateway.services.errors import NotFound

    def row(found: Notice) -> dict[str, Any]:
        return {
            "user_id": found.user_id,
            "kind": found.kind,
            "created_at": format_time(found.created_at),
            "read_at": None if found.read_at is None else format_time(found.read_at),
            "mail": found.mail_state,
            "mail_at": format_time(found.mail_at),
            "tries": found.mail_tries,
            "reason": found.mail_reason,
        }

    async with open_console(settings) as console:
        try:
            await console.announcing.get(wanted)
        except NotFound:
            return [row(found) for found in await console.notices.record_of(UserId(wanted))]
        return [row(found) async for found in console.announcing.told_by(wanted)]
