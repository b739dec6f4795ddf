"""
A pretend cloud for people to look at: its accounts, their files, and what an owner or a misfortune may do to them.

Every emulator calls `add_pages` in its `add_routes`; the pages know nothing of any provider.
"""

import html
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from tests.emulators.cloud import Account, Cloud, StoredFile

_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}
section{margin:1.5rem 0;padding:1rem;border:1px solid #8886;border-radius:8px}
h2{margin:0;font-size:1.2rem}
table{width:100%;border-collapse:collapse;margin-top:1rem}
th,td{text-align:left;padding:.25rem .5rem;border-top:1px solid #8884;overflow-wrap:anywhere}
td.number{text-align:right;white-space:nowrap}
form{display:inline}
button{font:inherit;padding:.2rem .7rem;margin:.1rem}
"""


def add_pages(app: web.Application, cloud: Cloud) -> None:
    """
    Add the page at ``/`` and what its buttons do; *cloud* has its `OAuthServer` as the attribute ``oauth``.
    """
    pages = _Pages(cloud)
    app.router.add_get("/", pages.show)
    app.router.add_post("/by-hand/{account}/delete", pages.delete)
    app.router.add_post("/by-hand/{account}/revoke", pages.revoke)
    app.router.add_post("/by-hand/{account}/fill", pages.fill)
    app.router.add_post("/by-hand/{account}/free", pages.free)


class _Pages:
    def __init__(self, cloud: Any) -> None:
        self._cloud = cloud
        self._quotas: dict[str, int | None] = {}
        """Of the accounts that were filled, as they were before."""

    async def show(self, request: web.Request) -> web.Response:
        title = html.escape(self._cloud.title)
        accounts = "".join(self._account(account) for account in list(self._cloud.accounts.values()))
        return web.Response(
            content_type="text/html",
            text=f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} (pretend)</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
            f"<h1>{title}</h1><p>This is a pretend {title} for trying things out. "
            f"It shows what its owner, or anybody who broke in there, would see.</p>"
            f"{accounts or '<p>It has no accounts.</p>'}</html>",
        )

    async def delete(self, request: web.Request) -> web.StreamResponse:
        account = self._of(request)
        stored = account.files.get(str((await request.post()).get("file")))
        if stored is not None:
            self._cloud.remove(account, stored)
        raise web.HTTPSeeOther("/")

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        self._cloud.oauth.revoke(self._of(request))
        raise web.HTTPSeeOther("/")

    async def fill(self, request: web.Request) -> web.StreamResponse:
        account = self._of(request)
        self._quotas.setdefault(account.subject, account.quota)
        account.quota = account.used
        raise web.HTTPSeeOther("/")

    async def free(self, request: web.Request) -> web.StreamResponse:
        account = self._of(request)
        if account.subject in self._quotas:
            account.quota = self._quotas.pop(account.subject)
        raise web.HTTPSeeOther("/")

    def _of(self, request: web.Request) -> Account:
        account = self._cloud.accounts.get(request.match_info["account"])
        if account is None:
            raise web.HTTPNotFound
        return account

    def _account(self, account: Account) -> str:
        files = sorted(account.files.values(), key=lambda stored: stored.created_at, reverse=True)
        rows = "".join(self._row(account, stored) for stored in files)
        grants = [grant for grant in self._cloud.oauth.grants if grant.account is account]
        alive = sum(not grant.is_revoked for grant in grants)
        limit = "no limit" if account.quota is None else _size(account.quota)
        is_filled = account.subject in self._quotas
        return (
            f"<section><h2>{html.escape(account.name)}, {html.escape(account.email)}</h2>"
            f"<p>{len(files)} files, {_size(account.used)} of {limit}. "
            f"Programs that have access: {alive}.</p>"
            + _button(account, "revoke", "Revoke access")
            + _button(account, *(("free", "Free the quota") if is_filled else ("fill", "Fill the quota")))
            + (f"<table><tr><th>Name<th>Size<th>Time<th></tr>{rows}</table>" if rows else "")
            + "</section>"
        )

    def _row(self, account: Account, stored: StoredFile) -> str:
        at = datetime.fromtimestamp(stored.created_at, UTC)
        button = _button(account, "delete", "Delete", file=stored.id)
        return (
            f"<tr><td>{html.escape(stored.name)}<td class=number>{_size(stored.content.size)}"
            f"<td>{at:%Y-%m-%d %H:%M:%S}<td>{button}</tr>"
        )


def _button(account: Account, action: str, label: str, *, file: str = "") -> str:
    field = f'<input type="hidden" name="file" value="{html.escape(file)}">' if file else ""
    return (
        f'<form method="post" action="/by-hand/{html.escape(account.subject)}/{action}">'
        f"{field}<button>{html.escape(label)}</button></form>"
    )


def _size(count: float) -> str:
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"
