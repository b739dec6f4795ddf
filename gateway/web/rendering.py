"""
How pages are made: templates, the files that they refer to, and the headers that hold a browser to what a page needs.
"""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway import __version__
from gateway.base.wording import day, iso, lasting, length, moment, size
from gateway.http.authentication import CSRF_FIELD, Session
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
            iso=iso,
            call_length=length,
            size=size,
            lasting=lasting,
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
