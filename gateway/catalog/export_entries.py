"""
The recordings in an export: those that were live when it began, and what became of each.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Integer, and_, bindparam, func, or_, select, update

from gateway.catalog.export_tables import export_entries, export_parts, exports
from gateway.catalog.recordings import RecordingRow
from gateway.catalog.tables import recordings
from gateway.database import Connection

WAITING: Final = "waiting"
TAKEN: Final = "taken"
MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A recording in an export, and what there is of it now; *number* counts from 1, the newest first.
    """

    number: int
    recording: RecordingRow
    stored_at: int
    size: int
    state: str
    reason: str | None
    sealed: bytes | None
    failing_since: int | None


@dataclass(frozen=True, slots=True)
class CheckedEntry:
    """
    What becomes of an entry.
    """

    number: int
    state: str
    reason: str | None
    sealed: bytes | None
    failing_since: int | None = None


@dataclass(frozen=True, slots=True)
class MissingEntry:
    """
    A recording that is not in the archive, or not all of it.
    """

    recording_id: str
    stored_at: int
    size: int
    reason: str


_ENTRIES: Final = (
    select(
        export_entries.c.number,
        export_entries.c.stored_at.label("entry_stored_at"),
        export_entries.c.size.label("entry_size"),
        export_entries.c.state.label("entry_state"),
        export_entries.c.reason,
        export_entries.c.sealed,
        export_entries.c.failing_since,
        recordings,
    )
    .join(recordings, recordings.c.id == export_entries.c.recording_id)
    .where(
        export_entries.c.export_id == bindparam("export_id"),
        export_entries.c.number.between(bindparam("first", type_=Integer), bindparam("last", type_=Integer)),
    )
    .order_by(export_entries.c.number)
)
_WAITING: Final = (
    select(export_entries.c.number)
    .where(
        export_entries.c.export_id == bindparam("export_id"),
        export_entries.c.state == WAITING,
        export_entries.c.number > bindparam("after", type_=Integer),
    )
    .order_by(export_entries.c.number)
    .limit(bindparam("most", type_=Integer))
)


async def entries_between(connection: Connection, export_id: str, first: int, last: int) -> list[Entry]:
    """
    Return these entries with their recordings or tombstones, both ends included.
    """
    rows = await connection.execute(_ENTRIES, {"export_id": export_id, "first": first, "last": last})
    return [
        Entry(
            row.number,
            RecordingRow.from_row(row),
            row.entry_stored_at,
            row.entry_size,
            row.entry_state,
            row.reason,
            row.sealed,
            row.failing_since,
        )
        for row in rows
    ]


async def waiting_after(connection: Connection, export_id: str, number: int, *, limit: int) -> list[int]:
    """
    Return the numbers of some entries behind *number* that were not looked at yet, or could not be.
    """
    values = {"export_id": export_id, "after": number, "most": limit}
    return list((await connection.execute(_WAITING, values)).scalars())


async def note_entries(
    connection: Connection, export_id: str, entries: Sequence[CheckedEntry], *, checked: int
) -> None:
    """
    Write what became of these entries, and of how many it is known now that was not before.
    """
    await connection.execute(
        update(export_entries)
        .where(
            export_entries.c.export_id == bindparam("of_export"),
            export_entries.c.number == bindparam("of_number"),
        )
        .values(
            state=bindparam("to_state"),
            reason=bindparam("to_reason"),
            sealed=bindparam("to_sealed"),
            failing_since=bindparam("to_failing", type_=BigInteger),
        ),
        [
            {
                "of_export": export_id,
                "of_number": entry.number,
                "to_state": entry.state,
                "to_reason": entry.reason,
                "to_sealed": entry.sealed,
                "to_failing": entry.failing_since,
            }
            for entry in entries
        ],
    )
    await connection.execute(
        update(exports).where(exports.c.id == export_id).values(checked=exports.c.checked + checked)
    )


async def find_gone(connection: Connection, export_id: str) -> list[int]:
    """
    Return the entries that count on recordings which are erased by now.
    """
    query = (
        select(export_entries.c.number)
        .join(recordings, recordings.c.id == export_entries.c.recording_id)
        .where(
            export_entries.c.export_id == export_id,
            or_(
                export_entries.c.state == TAKEN,
                and_(export_entries.c.state == MISSING, export_entries.c.sealed.is_not(None)),
            ),
            recordings.c.state != "live",
        )
    )
    return list((await connection.execute(query)).scalars())


async def miss_entries(connection: Connection, export_id: str, numbers: Collection[int], reason: str) -> None:
    """
    Note that these are not in the archive, whose pages that list them have to be made anew.
    """
    ordered = sorted(numbers)
    values: dict[str, object] = {"state": MISSING, "reason": reason}
    if reason == "erased":
        values["sealed"] = None
    for first in range(0, len(ordered), 500):
        some = ordered[first : first + 500]
        await connection.execute(
            update(export_entries)
            .where(export_entries.c.export_id == export_id, export_entries.c.number.in_(some))
            .values(**values)
        )
        await connection.execute(
            update(export_parts)
            .where(
                export_parts.c.export_id == export_id,
                select(export_entries.c.number)
                .where(
                    export_entries.c.export_id == export_id,
                    export_entries.c.number.in_(some),
                    export_entries.c.number.between(export_parts.c.first_entry, export_parts.c.last_entry),
                )
                .exists(),
            )
            .values(is_stale=True)
        )


async def note_failing(connection: Connection, export_id: str, number: int, *, since: int) -> None:
    """
    Note since when a recording that was taken cannot be read.
    """
    await connection.execute(
        update(export_entries)
        .where(
            export_entries.c.export_id == export_id,
            export_entries.c.number == number,
            export_entries.c.failing_since.is_(None),
        )
        .values(failing_since=since)
    )


async def numbers_missing(connection: Connection, export_id: str) -> list[int]:
    """
    Return the entries that are not in the archive, or not all of them.
    """
    query = (
        select(export_entries.c.number)
        .where(export_entries.c.export_id == export_id, export_entries.c.reason.is_not(None))
        .order_by(export_entries.c.number)
    )
    return list((await connection.execute(query)).scalars())


async def missing_of(connection: Connection, export_id: str, *, limit: int) -> tuple[list[MissingEntry], int]:
    """
    Return some of the recordings that are missing, the newest first, and how many there are.
    """
    is_missing = (export_entries.c.export_id == export_id, export_entries.c.reason.is_not(None))
    query = select(export_entries).where(*is_missing).order_by(export_entries.c.number).limit(limit)
    found = [
        MissingEntry(row.recording_id, row.stored_at, row.size, row.reason)
        for row in await connection.execute(query)
    ]
    counted = select(func.count()).select_from(export_entries).where(*is_missing)
    return found, (await connection.execute(counted)).scalar_one()
