"""
A person's recordings: found, heard, described, and deleted with a receipt.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from aiohttp import web
from yarl import URL

from gateway.base.ids import RecordingId
from gateway.http.authentication import Session
from gateway.http.context import context_of, path_id
from gateway.services.details import KNOWN_FIELDS, title_of
from gateway.services.errors import EditConflict, Held, InvalidField, NotFound, Refused
from gateway.services.recordings import Filter, Recording
from gateway.web.forms import Form, own_form, signed_in
from gateway.web.rendering import Renderer, see_other

_MOST_AT_ONCE: Final = 200
"""Recordings that are deleted with one form."""
_EDITABLE: Final = ("party_name", "party_number", "direction", "note", "labels")


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A recording in words for people.
    """

    recording: Recording

    @property
    def id(self) -> str:
        return str(self.recording.row.id)

    @property
    def title(self) -> str:
        return title_of(self.recording.details)

    @property
    def at_ms(self) -> int:
        """
        When the call took place, or else when it arrived.
        """
        details = self.recording.details
        if details is not None and details.recorded_at is not None:
            return round(datetime.fromisoformat(details.recorded_at.upper()).timestamp() * 1000)
        return self.recording.row.stored_at

    @property
    def direction(self) -> str:
        details = self.recording.details
        return {"in": "Incoming", "out": "Outgoing"}.get((details and details.direction) or "", "")


class RecordingPages:
    """
    The list, one recording, deleting, and receipts.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def add_to(self, app: web.Application) -> None:
        """
        Add the addresses.
        """
        app.router.add_get("/recordings", signed_in(self.show_all))
        app.router.add_post("/recordings/delete", signed_in(self.delete_some))
        app.router.add_get("/recordings/{id}", signed_in(self.show_one))
        app.router.add_post("/recordings/{id}", signed_in(self.edit))
        app.router.add_get("/receipts/{id}", signed_in(self.show_receipt))

    async def show_all(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        List recordings, newest first, those that match if a filter is given.
        """
        told = {
            name: request.query.get(name, "").strip()
            for name in ("party", "label", "direction", "from", "to")
        }
        error: Refused | None = None
        entries: list[Entry] = []
        onward = None
        try:
            wanted = _filter(told)
            page = await context_of(request).recordings.page(
                session.user, wanted, cursor=request.query.get("cursor")
            )
            entries = [Entry(recording) for recording in page.recordings]
            if page.cursor is not None:
                onward = str(request.rel_url.update_query(cursor=page.cursor))
        except Refused as refused:
            error = refused
        return self._renderer.page(
            "recordings.html",
            status=200 if error is None else 400,
            session=session,
            error=error,
            entries=entries,
            onward=onward,
            told=told,
            is_filtered=any(told.values()),
            is_first="cursor" not in request.query,
            deleted=_count(request, "deleted"),
            held=_count(request, "held"),
        )

    async def show_one(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show one recording, to be heard and described.
        """
        return await self._one(request, session)

    async def edit(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Change what is said about a recording, unless somebody else has just now.
        """
        form = await own_form(request, session)
        recording_id = path_id(request, "recording")
        revision = form.text("revision")
        try:
            await context_of(request).recordings.edit(
                session.user,
                recording_id,
                _changes(form),
                if_revisions=frozenset({int(revision)}) if revision.isdecimal() else None,
            )
        except (InvalidField, EditConflict) as error:
            return await self._one(request, session, error=error)
        return see_other(f"/recordings/{recording_id}?saved=1")

    async def delete_some(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Ask whether to delete, and delete once it was said.
        """
        form = await own_form(request, session)
        ids = _ids(form)
        if not form.is_ticked("sure"):
            entries = []
            for recording_id in ids:
                try:
                    entries.append(
                        Entry(await context_of(request).recordings.get(session.user, recording_id))
                    )
                except NotFound:
                    continue
            return self._renderer.page("delete.html", session=session, entries=entries, most=_MOST_AT_ONCE)
        context = context_of(request)
        gone: list[RecordingId] = []
        held = 0
        for recording_id in ids:
            try:
                await context.erasure.erase_recording(
                    session.user.id, recording_id, wait_s=context.settings.keyring.receipt_wait_s
                )
            except NotFound:
                continue
            except Held:
                held += 1
                continue
            gone.append(recording_id)
        if len(gone) == len(ids) == 1:
            return see_other(f"/receipts/{gone[0]}")
        return see_other(str(URL("/recordings").with_query(deleted=str(len(gone)), held=str(held))))

    async def show_receipt(self, request: web.Request, session: Session) -> web.StreamResponse:
        """
        Show what proves that a recording is gone.
        """
        erasure = await context_of(request).erasure.erasure_of(session.user.id, path_id(request, "receipt"))
        return self._renderer.page("receipt.html", session=session, erasure=erasure)

    async def _one(
        self, request: web.Request, session: Session, *, error: Refused | None = None
    ) -> web.StreamResponse:
        context = context_of(request)
        recording_id = path_id(request, "recording")
        recording = await context.recordings.look(session.user, recording_id)
        copies = await context.recordings.placements_of(session.user, recording_id)
        titles = {view.row.id: view.title for view in await context.links.all_of(session.user.id)}
        return self._renderer.page(
            "recording.html",
            status=200 if error is None else 409 if isinstance(error, EditConflict) else 400,
            session=session,
            error=error,
            entry=Entry(recording),
            details=recording.details,
            copies=[(titles.get(copy.backend, "This service"), copy.state) for copy in copies],
            is_saved="saved" in request.query,
        )


def _count(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _filter(told: dict[str, str]) -> Filter:
    since, before = _date("from", told["from"]), _date("to", told["to"])
    direction = told["direction"] or None
    if direction not in (None, "in", "out"):
        raise InvalidField("direction", "is neither in nor out")
    return Filter(
        stored_from=None if since is None else _ms(since),
        stored_before=None if before is None else _ms(before + timedelta(days=1)),
        direction=direction,
        party=told["party"] or None,
        label=told["label"] or None,
    )


def _date(field: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidField(field, "is no date") from None


def _ms(day: date) -> int:
    return round(datetime.combine(day, time(), UTC).timestamp() * 1000)


def _changes(form: Form) -> dict[str, Any]:
    changes: dict[str, Any] = {
        name: form.text(name) or None for name in _EDITABLE if name in form.fields and name in KNOWN_FIELDS
    }
    if "labels" in changes:
        changes["labels"] = (
            tuple(label.strip() for label in form.text("labels").split(",") if label.strip()) or None
        )
    return changes


def _ids(form: Form) -> list[RecordingId]:
    ids = form.texts("id")
    if not ids:
        raise InvalidField("id", "no recording is selected")
    if len(ids) > _MOST_AT_ONCE:
        raise InvalidField("id", f"more than {_MOST_AT_ONCE} recordings are selected")
    try:
        return [RecordingId(uuid.UUID(text)) for text in dict.fromkeys(ids)]
    except ValueError:
        raise InvalidField("id", "is no id of a recording") from None
