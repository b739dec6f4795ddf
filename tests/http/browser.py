"""
A browser without a screen: keeps cookies, follows redirects, fills in the forms that a page has.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self

import aiohttp
from yarl import URL

from tests.http.newcomer import NUMBER
from tests.support.gateway import Served

_ALWAYS_OPEN = {"br", "hr", "img", "input", "link", "meta"}


@dataclass
class FormOnPage:
    """
    A form: where it goes, and what it sends if nothing is typed.
    """

    method: str
    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """
    What came back, read as HTML; tags that are not closed in order are an error.
    """

    def __init__(self, status: int, url: URL, headers: Any, text: str) -> None:
        super().__init__()
        self.status = status
        self.url = url
        self.headers = headers
        self.source = text
        self.forms: list[FormOnPage] = []
        self.links: list[str] = []
        self._words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert [] == self._open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def form(self, action: str) -> FormOnPage:
        """
        Return the first form that goes to an address which begins so.
        """
        return next(form for form in self.forms if form.action.startswith(action))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag not in _ALWAYS_OPEN:
            self._open.append(tag)
        if tag == "form":
            self.forms.append(FormOnPage(told.get("method", "get"), told["action"]))
        elif tag == "input" and self.forms and "form" in self._open and told.get("type") != "checkbox":
            self.forms[-1].fields.append((told["name"], told.get("value", "")))
        elif tag == "a":
            self.links.append(told["href"])

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop(), tag

    def handle_data(self, data: str) -> None:
        self._words.append(data)


class Browser:
    """
    One browser.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=URL(served.url))
        self.http = aiohttp.ClientSession(base_url=served.url, cookie_jar=jar)
        self.page = Page(0, URL(), {}, "")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def go(self, path: str) -> Page:
        return await self._load("GET", path)

    async def send(self, action: str, **typed: str) -> Page:
        """
        Fill the page's form for *action* in and send it.
        """
        form = self.page.form(action)
        fields = [(name, value) for name, value in form.fields if name not in typed]
        return await self._load(form.method, form.action, [*fields, *typed.items()])

    async def post(self, path: str, *fields: tuple[str, str], **options: Any) -> Page:
        """
        Send what no page has.
        """
        return await self._load("POST", path, list(fields), **options)

    async def sign_in(self, number: str = NUMBER) -> Page:
        await self.go("/sign-in")
        await self.send("/sign-in/code", number=number)
        assert 200 == self.page.status, self.page.text
        return await self.send("/sign-in/proof", code=self.read_code())

    def read_code(self) -> str:
        provider = self.served.gateway.context.people.ways.codes("phone")
        waiting: dict[str, tuple[str, int]] = provider._waiting  # type: ignore[attr-defined]
        return waiting[next(reversed(waiting))][0]

    def cookie(self, name: str) -> Any:
        return self.http.cookie_jar.filter_cookies(URL(self.served.url)).get(name)

    async def _load(self, method: str, path: str, fields: Any = None, **options: Any) -> Page:
        data = None if fields is None else aiohttp.FormData(fields)
        headers = {"Accept": "text/html,*/*;q=0.8", **options.pop("headers", {})}
        async with self.http.request(method, path, data=data, headers=headers, **options) as response:
            text = await response.text() if response.content_type == "text/html" else ""
            self.page = Page(response.status, response.url, response.headers, text)
        return self.page
