"""
A user's recordings: listing, looking at one, changing what is said about it.
"""

import base64
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import msgspec
import structlog

from gateway.base.clock import Clock
from gateway.base.ids import LeafIndex, RecordingId
from gateway.base.secret import Secret
from gateway.catalog import recordings as catalog
from gateway.catalog.holds import active_holds
from gateway.catalog.placements import Placement, placements_of
from gateway.catalog.recordings import ListPosition, RecordingRow
from gateway.catalog.users import User
from gateway.crypto.errors import CryptoError
from gateway.database import Database
from gateway.keyring import Keyring
from gateway.keyring.errors import LeafShredded, SlotShredded
from gateway.services.details import Details, build_details, open_details, parse_time, seal_details
from gateway.services.errors import EditConflict, InvalidField, NotFound, Unreadable
from gateway.services.holds import told_of
from gateway.services.views import RecordingViews
from gateway.settings import Recordings as Limits

log = structlog.get_logger()

_Moment = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Recording:
    """
    A recording as its user sees it; *details* is None where they cannot be opened.
    """

    row: RecordingRow
    details: Details | None
    is_held: bool = False
    """Whether its user is told that it must stay; `RecordingService.look` and pages say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """
    Which recordings are wanted; what is None is not asked for.

    Attributes:
        stored_from, stored_before: when the gateway had all of it, Unix ms.
        recorded_from, recorded_before: when the call took place; a recording that doesn't say is left out.
        party: the other party's number, or part of the name, in any case.
    """

    stored_from: int | None = None
    stored_before: int | None = None
    recorded_from: datetime | None = None
    recorded_before: datetime | None = None
    direction: str | None = None
    party: str | None = None
    label: str | None = None

    @property
    def looks_inside(self) -> bool:
        """
        Whether the details must be opened to tell.
        """
        inside = (self.recorded_from, self.recorded_before, self.direction, self.party, self.label)
        return any(wanted is not None for wanted in inside)

    def matches(self, details: Details | None) -> bool:
        """
        Tell whether a recording of these details is wanted.
        """
        if not self.looks_inside:
            return True
        if details is None:
            return False
        if self.direction is not None and details.direction != self.direction:
            return False
        if self.label is not None and self.label not in details.labels:
            return False
        if self.party is not None and not _is_party(self.party, details):
            return False
        return self._matches_time(details)

    def _matches_time(self, details: Details) -> bool:
        if self.recorded_from is None and self.recorded_before is None:
            return True
        if details.recorded_at is None:
            return False
        moment = parse_time("recorded_at", details.recorded_at)
        if self.recorded_from is not None and moment < self.recorded_from:
            return False
        return self.recorded_before is None or moment < self.recorded_before


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some recordings, and where to go on; *cursor* is None at the end of the list.
    """

    recordings: list[Recording]
    cursor: str | None


class RecordingService:
    """
    Lists and edits.
    """

    def __init__(
        self, catalog_db: Database, views: RecordingViews, keyring: Keyring, clock: Clock, limits: Limits
    ) -> None:
        self._clock = clock
        self._catalog = catalog_db
        self._views = views
        self._keyring = keyring
        self._limits = limits

    async def page(
        self, user: User, wanted: Filter, *, page_size: int | None = None, cursor: str | None = None
    ) -> Page:
        """
        Return the user's recordings that match, newest first.

        Details are sealed, so a filter that looks inside opens one after the other;
        after a set number a page ends, perhaps with few recordings or none, and its cursor goes on from there.
        A recording that cannot be opened is listed without details instead of breaking the list.

        Raises:
            InvalidField: *cursor* or *page_size* is malformed.
        """
        size = self._limits.page_size if page_size is None else page_size
        if not 1 <= size <= self._limits.max_page_size:
            raise InvalidField("limit", f"is not between 1 and {self._limits.max_page_size}")
        after = None if cursor is None else _read_cursor(cursor)
        found: list[Recording] = []
        opened = 0
        while True:
            batch_size = size + 1 if not wanted.looks_inside else max(size + 1, 200)
            async with self._catalog.read() as connection:
                rows = await catalog.list_recordings(
                    connection,
                    user.id,
                    after=after,
                    stored_from=wanted.stored_from,
                    stored_before=wanted.stored_before,
                    limit=batch_size,
                )
                holds = await active_holds(connection, [user.id], at=self._clock.now_ms())
            held = told_of(holds, [row.id for row in rows])
            for recording in await self._open_all(user, rows):
                if len(found) == size or opened == self._limits.scan_limit:
                    assert after is not None
                    return Page(found, _write_cursor(after))
                after = ListPosition(recording.row.stored_at, str(recording.row.id))
                opened += wanted.looks_inside
                if wanted.matches(recording.details):
                    found.append(replace(recording, is_held=recording.row.id in held))
            if len(rows) < batch_size:
                return Page(found, None)

    async def look(self, user: User, recording_id: RecordingId) -> Recording:
        """
        Return one live recording of the user, and whether he is told that it is held.

        Raises:
            NotFound: as `get`.
        """
        recording = await self.get(user, recording_id)
        async with self._catalog.read() as connection:
            holds = await active_holds(connection, [user.id], at=self._clock.now_ms())
        return replace(recording, is_held=bool(told_of(holds, [recording_id])))

    async def get(self, user: User, recording_id: RecordingId) -> Recording:
        """
        Return one live recording of the user.

        Raises:
            NotFound: there is none, it is another user's, or it is erased.
        """
        row = await self.row(user, recording_id)
        try:
            # Not `leaves`: this keeps the way to the leaf, which whoever plays it is about to go again.
            leaf = await self._keyring.leaf(row.key_slot, row.leaf_index)
        except (LeafShredded, SlotShredded):
            details = None
        else:
            details = self._open(row, leaf)
        return _told(row, details)

    async def row(self, user: User, recording_id: RecordingId) -> RecordingRow:
        """
        Return what the catalog has of one live recording of the user, unopened.

        Raises:
            NotFound: as `get`.
        """
        row = (await self._views.view(recording_id)).recording
        if row is None or row.user_id != user.id or not row.is_live:
            raise NotFound("there is no such recording")
        return row

    async def placements_of(self, user: User, recording_id: RecordingId) -> list[Placement]:
        """
        Return where the user's recording lies, or is to lie, or lay.

        Raises:
            NotFound: there is no such recording, it is erased, or it is another user's.
        """
        await self.get(user, recording_id)
        async with self._catalog.read() as connection:
            return await placements_of(connection, recording_id)

    async def edit(
        self,
        user: User,
        recording_id: RecordingId,
        changes: Mapping[str, Any],
        *,
        if_revisions: Collection[int] | None = None,
    ) -> Recording:
        """
        Change the named details; a value of None removes one.

        Args:
            if_revisions: the revisions that the change may rest on, None to change whatever is there.

        Raises:
            NotFound: as `get`.
            InvalidField: a name is unknown or its value malformed.
            EditConflict: they are at another revision.
            Unreadable: the present details cannot be opened.
        """
        while True:
            row = await self.row(user, recording_id)
            if if_revisions is not None and row.details_revision not in if_revisions:
                raise EditConflict("the details were changed since they were read")
            # Where it fails, another edit of the same moment has got through.
            if await self._change(row, changes):
                return await self.look(user, recording_id)

    async def _change(self, row: RecordingRow, changes: Mapping[str, Any]) -> bool:
        """
        Change the details as *row* has them; False if they are others by now, or the recording is erased.
        """
        leaf = await self._leaf(row)
        present = self._open(row, leaf)
        if present is None:
            raise Unreadable("the present details cannot be opened")
        values = {name: getattr(present, name) for name in Details.__struct_fields__}
        values.update(changes)
        # A label that stands twice is one, as in an upload's metadata.
        values["labels"] = tuple(dict.fromkeys(values["labels"] or ()))
        details = build_details(values)
        sealed = seal_details(details, leaf, recording_id=row.id, slot=row.key_slot, index=row.leaf_index)
        async with self._catalog.write() as connection:
            return await catalog.replace_details(
                connection, row.id, sealed, expected_revision=row.details_revision
            )

    async def _open_all(self, user: User, rows: Sequence[RecordingRow]) -> list[Recording]:
        indexes: list[LeafIndex] = sorted(row.leaf_index for row in rows)
        try:
            leaves = await self._keyring.leaves(user.key_slot, indexes)
        except SlotShredded:
            leaves = {}
        keyed = ((row, leaves.get(row.leaf_index)) for row in rows)
        return [_told(row, None if leaf is None else self._open(row, leaf)) for row, leaf in keyed]

    async def _leaf(self, row: RecordingRow) -> Secret:
        try:
            return await self._keyring.leaf(row.key_slot, row.leaf_index)
        except (LeafShredded, SlotShredded):
            raise NotFound("there is no such recording") from None

    @staticmethod
    def _open(row: RecordingRow, leaf: Secret) -> Details | None:
        if row.details is None:
            return None
        try:
            return open_details(
                row.details, leaf, recording_id=row.id, slot=row.key_slot, index=row.leaf_index
            )
        except (CryptoError, ValueError):
            return None


def _told(row: RecordingRow, details: Details | None) -> Recording:
    """
    Return the recording, and have it logged where its details could not be opened.
    """
    if details is None:
        log.error("details.unreadable", recording=str(row.id))
    return Recording(row, details)


def _is_party(wanted: str, details: Details) -> bool:
    """
    Tell whether *wanted* is the other party's number, in any spelling, or a part of the name.
    """
    if details.party_number is not None:
        digits = _digits(wanted)
        if wanted == details.party_number or (digits and digits == _digits(details.party_number)):
            return True
    return details.party_name is not None and wanted.casefold() in details.party_name.casefold()


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _write_cursor(position: ListPosition) -> str:
    text = msgspec.json.encode((position.stored_at, position.id))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read_cursor(cursor: str) -> ListPosition:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        stored_at, recording_id = msgspec.json.decode(text, type=tuple[_Moment, uuid.UUID])
    except ValueError:
        raise InvalidField("cursor", "is not one that a list gave") from None
    return ListPosition(stored_at, str(recording_id))
