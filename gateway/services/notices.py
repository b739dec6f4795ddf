"""
Telling users: a notice on the pages, and by e-mail where there is a mail server.

A notice is one row, written in the transaction of what it is about, and with it the job that sends it. So whatever is
committed is told, and what is not is not. Whoever has something to tell calls `Notices.tell`; a new kind is a line in
`notice_texts.KINDS` and a template beside the others.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from gateway.base.clock import Clock
from gateway.base.ids import USER_LEAF, KeySlot, UserId
from gateway.base.secret import Secret
from gateway.catalog import notice_runs, users
from gateway.catalog import notices as catalog
from gateway.catalog.jobs import enqueue_job
from gateway.catalog.notices import MAIL, Notice
from gateway.catalog.users import User
from gateway.crypto.errors import CryptoError
from gateway.crypto.keys import subkey
from gateway.crypto.wrap import open_record, seal_record
from gateway.database import Connection, Database
from gateway.keyring import Keyring
from gateway.keyring.errors import KeyringError
from gateway.services.errors import InvalidField, NotFound
from gateway.services.notice_texts import KINDS, PRESSING, Facts, NoticeText, NoticeTexts

log = structlog.get_logger()

NO_SERVER: Final = "no-mail-server"
_RECORD_LABEL: Final = b"NOTE\x01"
_LONGEST_PAGE: Final = 100
_LONGEST_RECORD: Final = 1000


@dataclass(frozen=True, slots=True)
class NoticeView:
    """
    A notice as its user sees it; *text* is None if it cannot be opened.
    """

    notice: Notice
    text: NoticeText | None


@dataclass(frozen=True, slots=True)
class NoticePage:
    """
    Notices, newest first; *cursor* leads to those behind them.
    """

    notices: Sequence[NoticeView]
    cursor: str | None


class Notices:
    """
    Tells users, and shows them what they were told.
    """

    def __init__(self, catalog_db: Database, keyring: Keyring, clock: Clock, *, has_mail: bool) -> None:
        self._catalog = catalog_db
        self._keyring = keyring
        self._clock = clock
        self._has_mail = has_mail
        self._texts = NoticeTexts(base="")

    async def tell(
        self,
        connection: Connection,
        user_id: UserId,
        kind: str,
        facts: Facts | None = None,
        *,
        occasion: str = "",
    ) -> bool:
        """
        Tell a user something, in the caller's transaction: on the pages, and by e-mail if he has an address.

        *facts* fill the kind's template, as JSON values. They are sealed under the user's own key.
        Of one *occasion* he is told once, however often that is called; empty, it is one of its own. It is kept in clear:
        ids and numbers alone.

        The user's row is shared with others until the transaction ends. Whoever locks other rows as well, or will change
        the user's, locks the user first (`users.lock_active_user`).

        Returns whether he is told now: False if he was before, or if there is no such user any more.
        """
        if kind not in KINDS:
            raise ValueError(f"there is no notice of kind {kind}")
        await users.share_users(connection, [user_id])
        user = await users.get_user(connection, user_id)
        if user is None or not user.is_active:
            return False
        notice_id = str(uuid.uuid4())
        try:
            key = await self._key(user.key_slot)
        except KeyringError:
            # His keys are shredded already, and the catalog follows.
            return False
        notice = self.notice(
            notice_id,
            user_id,
            kind,
            occasion=occasion or notice_id,
            sealed=seal_record(
                key, msgspec.json.encode(dict(facts or {})), _associated_data(notice_id, user.key_slot)
            ),
        )
        if not await catalog.insert_notice(connection, notice):
            return False
        if notice.mail_state == "queued":
            await enqueue_job(connection, MAIL, notice_id)
        return True

    def notice(
        self,
        notice_id: str,
        user_id: UserId,
        kind: str,
        *,
        occasion: str,
        sealed: bytes | None = None,
        run_id: str | None = None,
    ) -> Notice:
        """
        Return a notice that is made now; where there is a mail server its mail is queued.
        """
        now = self._clock.now_ms()
        return Notice(
            id=notice_id,
            user_id=user_id,
            kind=kind,
            occasion=occasion,
            run_id=run_id,
            sealed=sealed,
            created_at=now,
            mail_state="queued" if self._has_mail else "none",
            mail_reason=None if self._has_mail else NO_SERVER,
            mail_at=now,
        )

    async def page_of(self, user: User, *, limit: int, cursor: str | None = None) -> NoticePage:
        """
        Return what the user was told, newest first.

        Raises:
            InvalidField: the cursor is none of ours, or the limit is out of bounds.
        """
        if not 1 <= limit <= _LONGEST_PAGE:
            raise InvalidField("limit", f"is not from 1 to {_LONGEST_PAGE}")
        before = None if cursor is None else _read_cursor(cursor)
        async with self._catalog.read() as connection:
            found = await catalog.notices_of(connection, user.id, before=before, limit=limit + 1)
            facts = await self._facts_of_runs(connection, found[:limit])
        views = [await self._view(user, notice, facts) for notice in found[:limit]]
        last = views[-1].notice if len(found) > limit else None
        return NoticePage(views, None if last is None else f"{last.created_at}.{last.id}")

    async def record_of(self, user_id: UserId) -> list[Notice]:
        """
        Return when a user was told, of what kind, and what became of the mails; the latest first, whoever he is.

        Raises:
            NotFound: there never was such a user.
        """
        async with self._catalog.read() as connection:
            if await users.get_user(connection, user_id) is None:
                raise NotFound(f"there is no notice and no user {user_id}")
            return await catalog.notices_of(connection, user_id, limit=_LONGEST_RECORD)

    async def pressing_of(self, user: User) -> NoticeView | None:
        """
        Return the newest of the notices that all pages speak of until they are read.
        """
        async with self._catalog.read() as connection:
            found = await catalog.unread_of(connection, user.id, PRESSING, limit=1)
            facts = await self._facts_of_runs(connection, found)
        return await self._view(user, found[0], facts) if found else None

    async def mark_read(self, user: User, notice_id: str | None = None, *, kind: str | None = None) -> None:
        """
        Note that the user has read one of his notices, those of a kind, or all.

        Raises:
            NotFound: he has none of that id.
        """
        async with self._catalog.write() as connection:
            if notice_id is not None:
                notice = await catalog.get_notice(connection, notice_id)
                if notice is None or notice.user_id != user.id:
                    raise NotFound("there is no such notice")
            await catalog.mark_read(
                connection, user.id, at=self._clock.now_ms(), notice_id=notice_id, kind=kind
            )

    async def facts_of(self, notice: Notice, slot: KeySlot) -> dict[str, Any] | None:
        """
        Return what a notice is about that has facts of its own; None if they cannot be opened.
        """
        if notice.sealed is None:
            return None
        try:
            opened = open_record(await self._key(slot), notice.sealed, _associated_data(notice.id, slot))
        except (CryptoError, KeyringError):
            return None
        return msgspec.json.decode(opened, type=dict[str, Any])

    async def _facts_of_runs(
        self, connection: Connection, found: Sequence[Notice]
    ) -> dict[str, dict[str, Any]]:
        run_ids = {notice.run_id for notice in found if notice.run_id is not None}
        return {run.id: run.facts for run in await notice_runs.get_runs(connection, run_ids)}

    async def _view(self, user: User, notice: Notice, runs: dict[str, dict[str, Any]]) -> NoticeView:
        if notice.run_id is None:
            facts = await self.facts_of(notice, user.key_slot)
        else:
            facts = runs[notice.run_id]
        # A kind that a newer release had before this one was put back.
        if facts is None or notice.kind not in KINDS:
            return NoticeView(notice, None)
        return NoticeView(notice, self._texts.text_of(notice.kind, facts))

    async def _key(self, slot: KeySlot) -> Secret:
        return subkey(await self._keyring.leaf(slot, USER_LEAF), "notice")


def _associated_data(notice_id: str, slot: KeySlot) -> bytes:
    return _RECORD_LABEL + uuid.UUID(notice_id).bytes + slot.to_bytes(8, "big")


def _read_cursor(cursor: str) -> tuple[int, str]:
    at, _, notice_id = cursor.partition(".")
    try:
        return int(at), str(uuid.UUID(notice_id))
    except ValueError:
        raise InvalidField("cursor", "is none that a list gave") from None
