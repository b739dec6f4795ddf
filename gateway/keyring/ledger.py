"""
The shredding log and the receipts: rows in, rows out.

A request enters the log in the transaction that moves the head, and counts as unfinished until it has its receipt.
Receipts are numbered without gaps, in the order in which they are chained.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Row, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.base.ids import Epoch, KeySlot, LeafIndex
from gateway.keyring.errors import ShredConflict
from gateway.keyring.receipts import Receipt, placements_document
from gateway.keyring.requests import PurgeState, ShreddedEntry, ShredRequest
from gateway.keyring.tables import receipts, shredding_log

# Made once: a statement remembers what it was compiled to.
_ENTRIES: Final = select(shredding_log).where(
    shredding_log.c.subject_id.in_(bindparam("subject_ids", expanding=True))
)
_UNFINISHED: Final = (
    select(shredding_log)
    .where(shredding_log.c.receipt.is_(None))
    .order_by(shredding_log.c.epoch, shredding_log.c.ordinal)
)
_SHREDDED_SINCE: Final = (
    select(shredding_log)
    .where(shredding_log.c.receipt > bindparam("sequence", type_=BigInteger))
    .order_by(shredding_log.c.receipt)
    .limit(bindparam("most", type_=Integer))
)
_LAST_RECEIPT: Final = select(receipts).order_by(receipts.c.sequence.desc()).limit(1)
_RECEIPTS_OF: Final = (
    select(receipts).where(receipts.c.subject_id == bindparam("subject_id")).order_by(receipts.c.sequence)
)
_LOGGED: Final = insert(shredding_log)
_APPENDED: Final = insert(receipts)
_FINISHED: Final = (
    update(shredding_log)
    .where(shredding_log.c.subject_id == bindparam("of_subject"))
    .values(receipt=bindparam("by_receipt"))
)
_RECEIPTS_OF_ALL: Final = (
    select(receipts)
    .where(receipts.c.subject_id.in_(bindparam("subject_ids", expanding=True)))
    .order_by(receipts.c.sequence)
)
_RECEIPTS: Final = select(receipts).where(receipts.c.sequence.in_(bindparam("sequences", expanding=True)))


@dataclass(frozen=True, slots=True)
class LogEntry:
    """
    A request that a round carried out, or is carrying out.
    """

    request: ShredRequest
    epoch: Epoch
    destroyed_root: bytes
    receipt: int | None
    """The number of its receipt; None while it is unfinished."""

    def refuse_other_leaves(self, request: ShredRequest) -> None:
        """
        Make sure that *request* asks for the very leaves that this entry is about.

        Raises:
            ShredConflict: it asks for others, so this entry's receipt would be a lie about them.
        """
        refuse_other_leaves(self.request, request)


def refuse_other_leaves(first: ShredRequest, again: ShredRequest) -> None:
    """
    Make sure that two requests for one subject mean the same keys.

    Raises:
        ShredConflict: they do not.
    """
    if (first.kind, first.slot, first.first, first.last) != (again.kind, again.slot, again.first, again.last):
        raise ShredConflict(f"{again.subject_id} was asked for before, as other keys than now")


async def log_requests(
    connection: AsyncConnection, requests: Sequence[ShredRequest], epoch: Epoch, destroyed_root: bytes
) -> None:
    """
    Write *requests* into the log, unfinished.
    """
    await connection.execute(
        _LOGGED,
        [
            {
                "epoch": epoch,
                "ordinal": ordinal,
                "subject_id": request.subject_id,
                "kind": request.kind,
                "slot": request.slot,
                "first_leaf": request.first,
                "last_leaf": request.last,
                "revoked_at": request.revoked_at_ms,
                "subject_hash": request.subject_hash,
                "commitment": request.commitment,
                "placements": json.dumps(placements_document(request.placements)),
                "destroyed_root": destroyed_root,
            }
            for ordinal, request in enumerate(requests)
        ],
    )


async def find_entries(connection: AsyncConnection, subject_ids: Sequence[str]) -> dict[str, LogEntry]:
    """
    Return the entries of *subject_ids*, those that exist.
    """
    found = await connection.execute(_ENTRIES, {"subject_ids": list(subject_ids)})
    return {row.subject_id: _entry(row) for row in found}


async def find_unfinished(connection: AsyncConnection) -> list[LogEntry]:
    """
    Return the entries without a receipt, in the order in which they will get theirs.
    """
    found = await connection.execute(_UNFINISHED)
    return [_entry(row) for row in found]


async def find_shredded_since(connection: AsyncConnection, sequence: int, limit: int) -> list[ShreddedEntry]:
    """
    Return finished entries whose receipts come after *sequence*, oldest first.
    """
    found = await connection.execute(_SHREDDED_SINCE, {"sequence": sequence, "most": limit})
    return [
        ShreddedEntry(
            sequence=row.receipt,
            subject_id=row.subject_id,
            kind=row.kind,
            slot=KeySlot(row.slot),
            first=row.first_leaf,
            last=row.last_leaf,
            epoch=Epoch(row.epoch),
        )
        for row in found
    ]


async def find_last_receipt(connection: AsyncConnection) -> Receipt | None:
    """
    Return the end of the chain; with the head locked, it stays the end until this commit.
    """
    found = await connection.execute(_LAST_RECEIPT)
    row = found.one_or_none()
    return None if row is None else _receipt(row)


async def find_receipts_of(connection: AsyncConnection, subject_id: str) -> list[Receipt]:
    """
    Return what was signed about a subject, oldest first.
    """
    found = await connection.execute(_RECEIPTS_OF, {"subject_id": subject_id})
    return [_receipt(row) for row in found]


async def find_receipts_of_all(
    connection: AsyncConnection, subject_ids: Collection[str]
) -> dict[str, list[Receipt]]:
    """
    Return what was signed about each of *subject_ids*, oldest first; those without a receipt are absent.
    """
    found: dict[str, list[Receipt]] = {}
    for row in await connection.execute(_RECEIPTS_OF_ALL, {"subject_ids": list(subject_ids)}):
        found.setdefault(row.subject_id, []).append(_receipt(row))
    return found


async def find_receipts(connection: AsyncConnection, sequences: Sequence[int]) -> dict[int, Receipt]:
    """
    Return receipts by their numbers.
    """
    found = await connection.execute(_RECEIPTS, {"sequences": list(sequences)})
    return {row.sequence: _receipt(row) for row in found}


async def append_receipts(connection: AsyncConnection, signed: Sequence[tuple[str, Receipt]]) -> None:
    """
    Write receipts, each with the subject that it is about.
    """
    await connection.execute(
        _APPENDED,
        [
            {
                "sequence": receipt.sequence,
                "subject_id": subject_id,
                "statement": receipt.document["statement"],
                "document": receipt.to_json(),
            }
            for subject_id, receipt in signed
        ],
    )


async def mark_finished(connection: AsyncConnection, signed: Sequence[tuple[str, Receipt]]) -> None:
    """
    Note which entries have their receipts, so that they count as shredded.
    """
    await connection.execute(
        _FINISHED,
        [{"of_subject": subject_id, "by_receipt": receipt.sequence} for subject_id, receipt in signed],
    )


def _entry(row: Row[Any]) -> LogEntry:
    placements = tuple(
        PurgeState(place["backend"], place["state"], place["at_ms"]) for place in json.loads(row.placements)
    )
    request = ShredRequest(
        subject_id=row.subject_id,
        kind=row.kind,
        slot=KeySlot(row.slot),
        first=None if row.first_leaf is None else LeafIndex(row.first_leaf),
        last=None if row.last_leaf is None else LeafIndex(row.last_leaf),
        revoked_at_ms=row.revoked_at,
        subject_hash=row.subject_hash,
        commitment=row.commitment,
        placements=placements,
    )
    return LogEntry(request, Epoch(row.epoch), row.destroyed_root, row.receipt)


def _receipt(row: Row[Any]) -> Receipt:
    return Receipt(json.loads(row.document), row.sequence)
