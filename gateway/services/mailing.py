"""
Sending notices by e-mail.

Each is a durable job, so it is sent at least once. A crash between a server's answer and the note of it sends it again, as
the same message under the same Message-ID, which mail programs show once; there is no way to have both ends agree.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from gateway.base.clock import Clock
from gateway.catalog import notice_runs, users
from gateway.catalog import notices as catalog
from gateway.catalog.notices import MailState, Notice
from gateway.catalog.users import User
from gateway.database import Database
from gateway.mail.errors import AddressRefused, BadAddress, MailRefused, NotTaken
from gateway.mail.messages import Mail, mail_address
from gateway.mail.server import MailServer
from gateway.notice_settings import Mail as Limits
from gateway.services.accounts import AccountService
from gateway.services.mail_preferences import MailPreferences
from gateway.services.notice_texts import NoticeTexts
from gateway.services.notices import Notices
from gateway.services.work import NotNow

log = structlog.get_logger()

_MINUTE_S: Final = 60


class Pace:
    """
    Lets so many go in a minute, the first of them at once.
    """

    def __init__(self, per_minute: int) -> None:
        self._spacing_s = _MINUTE_S / per_minute
        self._burst_s = max(1.0, self._spacing_s)
        self._next_at = 0.0

    async def wait(self) -> None:
        """
        Return when it is the caller's turn.
        """
        now = asyncio.get_running_loop().time()
        turn = max(self._next_at, now - self._burst_s)
        self._next_at = turn + self._spacing_s
        await asyncio.sleep(turn - now)


class Mailing:
    """
    Sends notices.

    *base* is the gateway's public address; *on_outcome* is told what came of each try.
    """

    def __init__(
        self,
        catalog_db: Database,
        notices: Notices,
        accounts: AccountService,
        preferences: MailPreferences,
        server: MailServer,
        clock: Clock,
        limits: Limits,
        *,
        base: str,
        on_outcome: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._catalog = catalog_db
        self._notices = notices
        self._accounts = accounts
        self._preferences = preferences
        self._server = server
        self._clock = clock
        self._limits = limits
        self._base = base
        self._on_outcome = on_outcome
        self._pace = Pace(limits.per_minute)
        self._texts = NoticeTexts(base=base)
        self._frames = Environment(
            loader=PackageLoader("gateway.services", "texts"),
            undefined=StrictUndefined,
            autoescape=select_autoescape(["html"]),
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def send(self, notice_id: str) -> None:
        """
        Send a notice, unless it was sent before or nobody is to have it; what comes of it is noted in its row.

        Raises:
            NotNow: no server took it this time.
        """
        async with self._catalog.read() as connection:
            notice = await catalog.get_notice(connection, notice_id)
            if notice is None or notice.mail_state != "queued":
                return
            user = await users.get_user(connection, notice.user_id)
            runs = await notice_runs.get_runs(connection, [notice.run_id] if notice.run_id else [])
        if user is None or not user.is_active:
            await self._note(notice, "none", "erased")
            return
        is_promotional = any(run.is_promotional for run in runs)
        if is_promotional and not await self._preferences.wants_promotional(user.id):
            await self._note(notice, "none", "opted-out")
            return
        personal = await self._accounts.personal_of(user)
        facts = runs[0].facts if runs else await self._notices.facts_of(notice, user.key_slot)
        if personal is None or facts is None:
            # Damaged: what his keys do not open stays so.
            await self._note(notice, "none", "unreadable")
            return
        if not personal.email:
            await self._note(notice, "none", "no-address")
            return
        try:
            mail = await self._mail(
                notice, user, facts, recipient=mail_address(personal.email), is_promotional=is_promotional
            )
            await self._pace.wait()
            await self._server.send(mail)
        except (BadAddress, AddressRefused, MailRefused) as error:
            await self._note(notice, "refused", error.reason)
        except NotTaken as error:
            await self._put_off(notice, error.reason)
        else:
            await self._note(notice, "sent", None)

    async def _mail(
        self, notice: Notice, user: User, facts: dict[str, Any], *, recipient: str, is_promotional: bool
    ) -> Mail:
        text = self._texts.text_of(notice.kind, facts)
        unsubscribe_url = None
        if is_promotional:
            unsubscribe_url = f"{self._base}/unsubscribe/{await self._preferences.unsubscribe_token(user.id)}"
        frame = {"text": text, "base": self._base, "unsubscribe_url": unsubscribe_url}
        return Mail(
            id=notice.id,
            recipient=recipient,
            at_ms=notice.created_at,
            subject=text.title,
            plain=self._frames.get_template("frame.txt").render(frame),
            # What it was made of was escaped when it was made.
            html=self._frames.get_template("frame.html").render(frame, html=Markup(text.html)),  # noqa: S704
            unsubscribe_url=unsubscribe_url,
        )

    async def _put_off(self, notice: Notice, reason: str) -> None:
        if self._clock.now_ms() - notice.created_at >= self._limits.give_up_after_s * 1000:
            await self._note(notice, "given-up", reason)
            return
        await self._note(notice, "queued", reason)
        delay_s = min(
            self._limits.retry_first_s * 2 ** min(notice.mail_tries, 32), self._limits.retry_longest_s
        )
        raise NotNow(reason, delay_ms=delay_s * 1000)

    async def _note(self, notice: Notice, state: MailState, reason: str | None) -> None:
        tries = notice.mail_tries + (state != "none")
        async with self._catalog.write() as connection:
            await catalog.note_mail(
                connection, notice.id, state, reason=reason, tries=tries, at=self._clock.now_ms()
            )
        self._on_outcome("put-off" if state == "queued" else state)
        if state in ("refused", "given-up"):
            log.warning("mail.not_sent", notice=notice.id, state=state, reason=reason, tries=tries)
