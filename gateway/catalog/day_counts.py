"""
Counts by day, of all users together.
"""

from collections.abc import Mapping

from sqlalchemy import select, update

from gateway.catalog.operator_tables import day_counts
from gateway.database import Connection, insert_or_ignore


async def add_counts(connection: Connection, day: int, counts: Mapping[tuple[str, str], int]) -> None:
    """
    Add to what was counted on *day*, by what it is of and a label.
    """
    for (what, label), count in sorted(counts.items()):
        key = {"day": day, "what": what, "label": label}
        await connection.execute(
            insert_or_ignore(day_counts, connection.dialect.name).values(**key, counted=0)
        )
        where = [day_counts.c[name] == value for name, value in key.items()]
        await connection.execute(
            update(day_counts).where(*where).values(counted=day_counts.c.counted + count)
        )


async def counts_since(connection: Connection, day: int) -> dict[tuple[str, str], dict[int, int]]:
    """
    Return what was counted on *day* and later: by what it is of and a label, how much on which day.
    """
    found: dict[tuple[str, str], dict[int, int]] = {}
    query = select(day_counts).where(day_counts.c.day >= day)
    for row in await connection.execute(query):
        found.setdefault((row.what, row.label), {})[row.day] = row.counted
    return found
