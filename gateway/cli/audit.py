"""
``gateway audit``: what operators did, and whether the record of it is whole.
"""

import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def audit() -> None:
    """
    Read the record of what operators did, sign it, and check it.
    """


@audit.command("list")
@installation_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--before", type=click.IntRange(1), help="Entries before this number.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_entries(
    config: Path | None, data_dir: Path | None, limit: int, before: int | None, as_json: bool
) -> None:
    """
    Show entries, newest first. Reasons are sealed for the users whom they concern, and not shown here.
    """
    rows = run(_list(load_settings(config, data_dir), limit, before))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    titles = ("sequence", "at", "actor", "role", "action", "user", "subject", "facts")
    print_table(titles, [list(row.values()) for row in rows], empty="Nothing was done yet.")


async def _list(settings: Settings, limit: int, before: int | None) -> list[dict[str, Any]]:
    from gateway.base.wording import format_time
    from gateway.console import open_console

    async with open_console(settings) as console:
        views = await console.audit.page(before=before, limit=limit)
    return [
        {
            "sequence": view.entry.sequence,
            "at": format_time(view.entry.at),
            "actor": view.entry.actor,
            "role": view.entry.role,
            "action": view.entry.action,
            "user": view.entry.user_id,
            "subject": view.entry.subject,
            "facts": view.facts,
        }
        for view in views
    ]


@audit.command("head")
@installation_options
def head(config: Path | None, data_dir: Path | None) -> None:
    """
    Sign how far the log has come, and print that: keep it elsewhere, for `gateway audit verify --head`.
    """
    document = run(_head(load_settings(config, data_dir)))
    if document is None:
        raise click.ClickException("the audit log is empty")
    click.echo(json.dumps(document, indent=2, sort_keys=True))


async def _head(settings: Settings) -> dict[str, Any] | None:
    from gateway.cli.logs import configure_logs
    from gateway.console import open_console

    configure_logs(settings.log)
    async with open_console(settings) as console:
        signed = await console.audit.sign_head()
        return None if signed.head is None else signed.head.document


@audit.command("verify")
@installation_options
@click.option(
    "--head",
    "heads",
    type=click.File("rb"),
    multiple=True,
    help="A file with a head that `gateway audit head` printed; may be repeated.",
)
@click.option("--from", "start", type=click.IntRange(1), default=1, help="Check from this entry on.")
def verify(config: Path | None, data_dir: Path | None, heads: tuple[Any, ...], start: int) -> None:
    """
    Check that no entry was changed, taken away, put in or put elsewhere.
    """
    documents = [_read(file) for file in heads]
    report = run(_verify(load_settings(config, data_dir), documents, start))
    for flaw in report.flaws:
        click.echo(flaw)
    if report.flaws:
        raise click.ClickException(f"the audit log is not whole: {len(report.flaws)} flaws")
    say(f"Verified: {report.entries} entries, beside {report.heads} signed heads.")
    unsigned = max(report.newest - report.signed_to, 0)
    if unsigned:
        say(f"The newest {unsigned} are not signed yet: if they went, nobody could tell.")


def _read(file: Any) -> Any:
    try:
        return json.loads(file.read())
    except ValueError as error:
        raise click.ClickException(f"{file.name} is not JSON: {error}") from error


async def _verify(settings: Settings, documents: list[Any], start: int) -> Any:
    from gateway.console import open_console
    from gateway.keyring import read_head_document

    pinned = [read_head_document(document) for document in documents]
    async with open_console(settings) as console:
        return await console.audit_check.run(pinned=pinned, start=start)
