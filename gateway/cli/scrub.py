"""
``gateway scrub``: looking at every copy once.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.services.checking import Finding


@click.command()
@installation_options
@click.option("--deep", is_flag=True, help="Read each copy and open every chunk of it, which downloads it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def scrub(config: Path | None, data_dir: Path | None, deep: bool, as_json: bool) -> None:
    """
    Compare every copy with what was placed, and call for another in place of what is missing or damaged.

    May run beside the daemon, which then makes the new copies; without one they are made when it starts.
    Exit status 1 if a copy is missing or damaged with no whole one to make it from.
    """
    import json

    from gateway.cli.logs import configure_logs

    settings = load_settings(config, data_dir)
    configure_logs(settings.log)
    findings = run(_scrubbed(settings, deep=deep))
    lost = 0
    counts: Counter[str] = Counter()
    rows = []
    for finding in findings:
        counts[finding.verdict.value] += 1
        if finding.verdict.value == "whole":
            continue
        is_broken = finding.verdict.value in ("missing", "damaged")
        lost += is_broken and not finding.is_mended
        outcome = (
            "another is being made" if finding.is_mended else "no whole copy is left" if is_broken else ""
        )
        rows.append((str(finding.recording_id), finding.place, finding.verdict.value, outcome))
    if as_json:
        titles = ("recording", "place", "verdict", "outcome")
        found = [dict(zip(titles, row, strict=True)) for row in rows]
        click.echo(json.dumps({"copies": dict(counts), "findings": found}, indent=2))
    else:
        from gateway.cli.tables import print_table

        if rows:
            print_table(("recording", "place", "verdict", "outcome"), rows, empty="", unbroken=("recording",))
        told = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(counts.items()))
        click.echo(f"Copies: {told}." if told else "There are no copies yet.")
    if lost:
        raise click.exceptions.Exit(1)


async def _scrubbed(settings: Settings, *, deep: bool) -> "list[Finding]":
    from gateway.reach import open_reach

    found: list[Finding] = []
    async with open_reach(settings) as reach:
        async for finding in reach.checks.scrub(deep=deep):
            found.append(finding)
            if len(found) % 1000 == 0:
                say(f"{len(found):,} copies looked at")
    return found
