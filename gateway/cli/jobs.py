"""
``gateway job``: the durable work, and what of it waits for the operator.
"""

import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def job() -> None:
    """
    Show the work that is left, and try again what was set aside.
    """


@job.command("list")
@installation_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_all(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """
    Show all jobs, those that wait for you first.
    """
    rows = run(_list(load_settings(config, data_dir)))
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    titles = ("id", "kind", "subject", "state", "attempts", "last error")
    keys = ("id", "kind", "subject_id", "state", "attempts", "last_error")
    print_table(titles, [[row[key] for key in keys] for row in rows], empty="There is no work left.")


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from gateway.base.wording import format_time
    from gateway.catalog.jobs import list_jobs
    from gateway.console import open_console

    async with open_console(settings) as console, console.catalog.read() as connection:
        return [asdict(row) | {"run_at": format_time(row.run_at)} for row in await list_jobs(connection)]


@job.command("retry")
@installation_options
@click.option("--all", "all_parked", is_flag=True, help="Every job that was set aside.")
@click.argument("job_id", metavar="JOB", required=False)
def retry(config: Path | None, data_dir: Path | None, all_parked: bool, job_id: str | None) -> None:
    """
    Try a parked job again, once what stopped it is mended.
    """
    if all_parked == (job_id is not None):
        raise click.UsageError("give either a JOB or --all")
    count = run(_retry(load_settings(config, data_dir), job_id))
    if not count and job_id is not None:
        raise click.ClickException(f"no job {job_id} is set aside")
    say(f"{count} job{'' if count == 1 else 's'} will be tried again.")


async def _retry(settings: Settings, job_id: str | None) -> int:
    from gateway.console import open_console
    from gateway.services.job_retries import retry_parked

    async with open_console(settings) as console:
        return await retry_parked(console.catalog, console.audit, console.actor, job_id)
