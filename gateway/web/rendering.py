"""
How pages are made: templates, the files that they refer to, and the headers that hold a browser to what a page needs.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway import __version__
from gateway.http.authentication import CSRF_FIELD, Session
from gateway.services.wording import day, moment
from gateway.web.assets import Assets
from gateway.web.reference import mark_up, mark_up_line

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
READING: Final = {
    **_ALWAYS,
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""Of pages that are only read: they set no cookie, run no script, send nothing."""

ACTING: Final = {
    **_ALWAYS,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
    "connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}
"""Of pages on which people do something; nobody keeps them. Forms say where they came from, to this host alone."""


class Renderer:
    """
    Renders pages.
    """

    def __init__(self) -> None:
        self.assets = Assets.load()
        self.templates = Environment(
            loader=PackageLoader(__package__ or "gateway.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals.update(
            version=__version__,
            asset=self.assets.address,
            has_asset=self.assets.has,
            csrf_field=CSRF_FIELD,
            session=None,
            here="",
        )
        self.templates.filters.update(
            mark_up=mark_up,
            mark_up_line=mark_up_line,
            day=day,
            moment=moment,
            iso=_iso,
            call_length=_length,
            size=size,
            lasting=_lasting,
        )

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        session: Session | None = None,
        headers: Mapping[str, str] = ACTING,
        **values: Any,
    ) -> web.Response:
        """
        Return a page; *session* is whose it is.
        """
        text = self.templates.get_template(template).render(session=session, **values)
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)

    def onward(self, address: str, title: str, *, session: Session | None = None) -> web.Response:
        """
        Send a browser on to a provider, after a form: by a page, for a form of ours may lead nowhere else itself.
        """
        headers = {**ACTING, "Referrer-Policy": "no-referrer"}
        return self.page("onward.html", session=session, headers=headers, address=address, title=title)


def see_other(address: str) -> web.Response:
    """
    Send a browser on, so that reloading does nothing twice.
    """
    return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _iso(ms: int) -> str:
    return f"{_at(ms):%Y-%m-%dT%H:%M:%SZ}"


def _length(ms: int) -> str:
    """
    Write a call's length as people read it, such as ``4:05`` or ``1:00:00``.
    """
    seconds = round(ms / 1000)
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def size(count: int) -> str:
    """
    Write bytes as people read them: decimal units, as phones show them.
    """
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def _lasting(seconds: int) -> str:
    """
    Write a span of time in its largest whole unit.
    """
    for name, unit in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= unit:
            count = round(seconds / unit)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "no time"
