"""
Exports: what users take away, which recordings were live when it began, and where its parts lie in the archive.
"""

from dataclasses import dataclass
from typing import Final, Self

from sqlalchemy import (
    Row,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)

from gateway.base.ids import KeySlot, LeafIndex, UserId
from gateway.catalog.export_entries import WAITING
from gateway.catalog.export_tables import export_entries, export_parts, exports
from gateway.catalog.tables import recordings
from gateway.database import Connection

PREPARING: Final = "preparing"
_AT_ONCE: Final = 1000

READY: Final = "ready"
ENDED: Final = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """
    One export; times are Unix ms, *sealed* is None until the personal data are collected.
    """

    id: str
    user_id: UserId
    key_slot: KeySlot
    leaf_index: LeafIndex
    state: str
    include: tuple[str, ...]
    began_at: int
    sealed: bytes | None = None
    recordings: int = 0
    checked: int = 0
    revision: int = 0
    layout: int = 0
    is_zip64: bool = False
    members: int = 0
    size: int = 0
    directory_offset: int = 0
    ready_at: int | None = None
    expires_at: int | None = None
    retry_at: int | None = None
    ended_at: int | None = None
    end_reason: str | None = None
    shredded_at: int | None = None

    @classmethod
    def from_row(cls, row: Row[tuple[object, ...]]) -> Self:
        values = row._asdict()
        values["include"] = tuple(row.include.split())
        return cls(**values)


async def insert_export(connection: Connection, export: Export) -> None:
    """
    Add an export, which has no recordings yet.
    """
    await connection.execute(
        exports.insert().values(
            id=export.id,
            user_id=export.user_id,
            key_slot=export.key_slot,
            leaf_index=export.leaf_index,
            state=export.state,
            include=" ".join(export.include),
            recordings=0,
            checked=0,
            revision=0,
            layout=0,
            is_zip64=False,
            members=0,
            size=0,
            directory_offset=0,
            began_at=export.began_at,
        )
    )


async def list_live(connection: Connection, export: Export, listed: int) -> int:
    """
    Add some of the user's live recordings to an export, behind the *listed* newest ones; return how many are listed then.

    Called until that grows no more, in the transaction that inserts the export.
    """
    query = select(recordings.c.id, recordings.c.stored_at, recordings.c.size).where(
        recordings.c.user_id == export.user_id, recordings.c.state == "live"
    )
    if listed:
        last = select(export_entries.c.stored_at, export_entries.c.recording_id).where(
            export_entries.c.export_id == export.id, export_entries.c.number == listed
        )
        stored_at, last_id = (await connection.execute(last)).one()
        query = query.where(
            recordings.c.stored_at <= stored_at,
            or_(recordings.c.stored_at < stored_at, recordings.c.id < last_id),
        )
    some = query.order_by(recordings.c.stored_at.desc(), recordings.c.id.desc()).limit(_AT_ONCE).subquery()
    newest_first = func.row_number().over(order_by=(some.c.stored_at.desc(), some.c.id.desc()))
    numbered = select(
        literal(export.id), newest_first + listed, some.c.id, some.c.stored_at, some.c.size, literal(WAITING)
    )
    names = ["export_id", "number", "recording_id", "stored_at", "size", "state"]
    result = await connection.execute(insert(export_entries).from_select(names, numbered))
    listed += result.rowcount
    await connection.execute(update(exports).where(exports.c.id == export.id).values(recordings=listed))
    return listed


async def size_of_live(connection: Connection, user_id: UserId) -> int:
    """
    Return the bytes of all live recordings of the user.
    """
    query = select(func.coalesce(func.sum(recordings.c.size), 0)).where(
        recordings.c.user_id == user_id, recordings.c.state == "live"
    )
    return int((await connection.execute(query)).scalar_one())


async def get_export(connection: Connection, export_id: str) -> Export | None:
    """
    Return the export, ended or not.
    """
    row = (await connection.execute(select(exports).where(exports.c.id == export_id))).one_or_none()
    return None if row is None else Export.from_row(row)


async def exports_of(connection: Connection, user_id: UserId) -> list[Export]:
    """
    Return the user's exports, ended ones too, latest first.
    """
    query = (
        select(exports).where(exports.c.user_id == user_id).order_by(exports.c.began_at.desc(), exports.c.id)
    )
    return [Export.from_row(row) for row in await connection.execute(query)]


async def prepare_anew(connection: Connection, export: Export, *, all_of_it: bool, at: int) -> bool:
    """
    Take a ready archive back, for its bytes are others by now; False if somebody did, or it has ended.

    *at* is when the sweep may go on with it, should the job of just now take no notice.
    """
    values: dict[str, object] = {"state": PREPARING, "retry_at": at}
    if all_of_it:
        values["layout"] = 0
    result = await connection.execute(
        update(exports)
        .where(exports.c.id == export.id, exports.c.state == READY, exports.c.revision == export.revision)
        .values(**values)
    )
    return result.rowcount == 1


async def lock_preparing(connection: Connection, export_id: str) -> bool:
    """
    Hold an export's row until the transaction ends, and tell whether it is being prepared.
    """
    query = select(exports.c.state).where(exports.c.id == export_id).with_for_update()
    return (await connection.execute(query)).scalar_one_or_none() == PREPARING


async def finish_collecting(connection: Connection, export_id: str, sealed: bytes) -> None:
    """
    Note that all parts are there, and whose the export is.
    """
    await connection.execute(update(exports).where(exports.c.id == export_id).values(sealed=sealed))


async def make_ready(connection: Connection, export: Export) -> bool:
    """
    Offer the archive as *export* says; False if the export ended meanwhile.
    """
    result = await connection.execute(
        update(exports)
        .where(exports.c.id == export.id, exports.c.state == PREPARING)
        .values(
            state=READY,
            revision=export.revision,
            layout=export.layout,
            is_zip64=export.is_zip64,
            members=export.members,
            size=export.size,
            directory_offset=export.directory_offset,
            ready_at=export.ready_at,
            expires_at=export.expires_at,
            retry_at=None,
        )
    )
    return result.rowcount == 1


async def try_later(connection: Connection, export_id: str, *, at: int) -> None:
    """
    Note when what could not be reached is tried again.
    """
    await connection.execute(
        update(exports).where(exports.c.id == export_id, exports.c.state == PREPARING).values(retry_at=at)
    )


# The end


async def end_export(connection: Connection, export_id: str, *, reason: str, at: int) -> bool:
    """
    End an export; tell whether this call did. What follows from it is the work of a job.
    """
    result = await connection.execute(
        update(exports)
        .where(exports.c.id == export_id, exports.c.state != ENDED)
        .values(state=ENDED, ended_at=at, end_reason=reason, sealed=null(), retry_at=None)
    )
    return result.rowcount == 1


async def end_exports_by_leaves(
    connection: Connection, slot: KeySlot, first: LeafIndex, last: LeafIndex, *, at: int
) -> list[str]:
    """
    End the exports whose keys are these leaves and are shredded; return those that something is left to do for.
    """
    query = select(exports.c.id).where(
        exports.c.key_slot == slot, exports.c.leaf_index.between(first, last), exports.c.shredded_at.is_(None)
    )
    found = list((await connection.execute(query)).scalars())
    for export_id in found:
        await end_export(connection, export_id, reason="expired", at=at)
    return found


async def forget_entries(connection: Connection, export_id: str) -> bool:
    """
    Remove some of what is in an export that ended; False if nothing was left.
    """
    some = (
        select(export_entries.c.number)
        .where(export_entries.c.export_id == export_id)
        .order_by(export_entries.c.number)
        .limit(_AT_ONCE)
    )
    numbers = list((await connection.execute(some)).scalars())
    if numbers:
        await connection.execute(
            delete(export_entries).where(
                export_entries.c.export_id == export_id,
                export_entries.c.number.between(numbers[0], numbers[-1]),
            )
        )
        return True
    result = await connection.execute(delete(export_parts).where(export_parts.c.export_id == export_id))
    return result.rowcount > 0


async def note_shredded(connection: Connection, export_id: str, *, at: int) -> None:
    """
    Note that an ended export's key is gone.
    """
    await connection.execute(update(exports).where(exports.c.id == export_id).values(shredded_at=at))


async def overdue_exports(connection: Connection, *, at: int, limit: int) -> list[str]:
    """
    Return exports whose time is over.
    """
    query = (
        select(exports.c.id)
        .where(exports.c.state.in_((READY, PREPARING)), exports.c.expires_at <= at)
        .order_by(exports.c.expires_at)
        .limit(limit)
    )
    return list((await connection.execute(query)).scalars())


async def exports_to_retry(connection: Connection, *, at: int) -> list[str]:
    """
    Return exports that wait for something that could not be reached, and have waited for long enough.
    """
    query = select(exports.c.id).where(exports.c.state == PREPARING, exports.c.retry_at <= at)
    return list((await connection.execute(query)).scalars())


async def forget_exports(connection: Connection, *, ended_before: int) -> int:
    """
    Forget exports that ended before, as far as their keys are shredded; return how many.
    """
    result = await connection.execute(
        delete(exports).where(
            exports.c.state == ENDED, exports.c.ended_at < ended_before, exports.c.shredded_at.is_not(None)
        )
    )
    return result.rowcount


async def delete_exports_of(connection: Connection, user_id: UserId) -> None:
    """
    Forget all exports of a user whose keys are about to be shredded.
    """
    query = select(exports.c.id).where(exports.c.user_id == user_id)
    found = list((await connection.execute(query)).scalars())
    for table in (export_entries, export_parts):
        await connection.execute(delete(table).where(table.c.export_id.in_(found)))
    await connection.execute(delete(exports).where(exports.c.user_id == user_id))
