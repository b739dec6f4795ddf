"""
``gateway recordings``: what is kept.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from gateway.cli.options import run
from gateway.cli.server_options import server_options
from gateway.cli.terminal import local_time, short_duration, short_size

_TITLES: Final = ("id", "when", "call", "length", "size", "file", "labels")


@click.command()
@server_options
@click.option("--stored-from", metavar="TIME", help="Stored at this time or later: 2026-01-31T14:05:00Z.")
@click.option("--stored-before", metavar="TIME", help="Stored before this time.")
@click.option("--recorded-from", metavar="TIME", help="The call took place at this time or later.")
@click.option("--recorded-before", metavar="TIME", help="The call took place before this time.")
@click.option("--direction", type=click.Choice(["in", "out"]), help="Which way the call went.")
@click.option("--party", metavar="TEXT", help="The other party's number, or a part of the name.")
@click.option("--label", metavar="LABEL", help="One of its labels, exactly.")
@click.option("--limit", type=click.IntRange(1), help="Only so many of the newest.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def recordings(server: str, token: str, limit: int | None, as_json: bool, **filters: str | None) -> None:
    """
    Show recordings, newest first.
    """
    from gateway.cli.client.listing import list_recordings

    wanted = {name: value for name, value in filters.items() if value is not None}
    found = run(list_recordings(server, token, wanted, limit=limit))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    rows = [_row(recording) for recording in found]
    # A column that has nothing to say leaves its room to the others.
    telling = [title for title in _TITLES if any(row[title] for row in rows)]
    print_table(
        telling,
        [[row[title] for title in telling] for row in rows],
        empty="No recording is like that." if wanted else "There are no recordings yet.",
        unbroken=("id", "when", "length", "size"),
    )


def describe(recording: Mapping[str, Any]) -> str:
    """
    Name a recording to a person, in a few words.
    """
    row = _row(recording)
    return ", ".join(row[title] for title in ("file", "when", "call", "length", "size") if row[title])


def _row(recording: Mapping[str, Any]) -> dict[str, str]:
    """
    Return what the table says of a recording, by column.
    """
    duration = recording["duration_ms"]
    party = recording["party_name"] or recording["party_number"]
    way = {"in": "from", "out": "to"}.get(recording["direction"] or "", "with")
    return {
        "id": recording["id"],
        "when": local_time(recording["recorded_at"] or recording["stored_at"]),
        "call": f"{way} {party}" if party else recording["direction"] or "",
        "length": "" if duration is None else short_duration(duration),
        "size": short_size(recording["size"]),
        "file": (recording["filename"] or "") if recording["readable"] else "(damaged)",
        "labels": ", ".join(recording["labels"]),
    }
