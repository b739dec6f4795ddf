from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway import __version__
from gateway.http.openapi import api_document
from gateway.http.routes import TAGS, list_operations
from gateway.settings import Settings
from gateway.web.reference import form_of, mark_up, read_document
from tests.support.gateway import Served, serving

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PAGES = ["/", "/docs", "/nowhere"]
ALWAYS_OPEN = {"br", "hr", "img", "input", "link", "meta"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path / "data", with_workers=False) as served:
        yield served


class Page(HTMLParser):
    """
    What a machine can see of a page; fails on tags that are not closed in order.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert [] == self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ALWAYS_OPEN:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, *names: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    @property
    def addresses(self) -> set[str]:
        return {tag[name] for _, tag in self.tags for name in ("href", "src") if name in tag}

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


async def load(served: Served, path: str) -> Page:
    async with served.http.get(path, headers=BROWSER) as response:
        assert "text/html" == response.content_type
        return Page(await response.text())


async def test_first_page_says_that_all_is_well(gateway: Served) -> None:
    page = await load(gateway, "/")

    assert "Healthy right now" in page.text
    assert f"Version {__version__}" in page.text
    assert {"/docs", "/v1/openapi.json", "/readyz", "/healthz"} <= page.addresses


async def test_first_page_says_what_is_wrong(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> list[bytes]:
        raise OSError("<gone>")

    monkeypatch.setattr(gateway.gateway.context.keyring, "public_keys", fail)
    async with gateway.http.get("/", headers=BROWSER) as response:
        page = Page(await response.text())

    assert 503 == response.status
    assert "Not healthy right now the key database does not answer" in page.text


@pytest.mark.parametrize("path", PAGES)
async def test_pages_need_nothing_from_elsewhere_and_run_nothing(gateway: Served, path: str) -> None:
    page = await load(gateway, path)

    assert [] == page.all("script", "style", "iframe", "form")
    assert [] == [
        tag for tag in page.tags if any(name == "style" or name.startswith("on") for name in tag[1])
    ]
    assert [] == [address for address in page.addresses if not address.startswith(("/", "#"))]
    assert [] == [address for address in page.addresses if address.startswith("//")]


@pytest.mark.parametrize("path", PAGES)
async def test_headers_hold_browsers_to_that(gateway: Served, path: str) -> None:
    async with gateway.http.get(path, headers=BROWSER) as response:
        assert POLICY == response.headers["Content-Security-Policy"]
        assert "nosniff" == response.headers["X-Content-Type-Options"]
        assert "no-referrer" == response.headers["Referrer-Policy"]
        assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("path", PAGES)
async def test_no_link_is_broken(gateway: Served, path: str) -> None:
    page = await load(gateway, path)

    assert len(page.ids) == len(set(page.ids))
    assert set() == {each[1:] for each in page.addresses if each.startswith("#")} - set(page.ids)
    for address in sorted(each for each in page.addresses if each.startswith("/")):
        async with gateway.http.get(address) as response:
            assert 200 == response.status, address


@pytest.mark.parametrize("path", PAGES)
async def test_pages_can_be_found_through_by_ear_and_by_keyboard(gateway: Served, path: str) -> None:
    page = await load(gateway, path)
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    contents = [tag for tag, attributes in page.tags if attributes.get("id") == "content"]

    assert [{"lang": "en"}] == page.all("html")
    assert ["main"] == contents
    assert "#content" == page.all("a")[0]["href"]
    assert [1, 1, 1] == [len(page.all(name)) for name in ("header", "main", "footer")]
    assert [] == [nav for nav in page.all("nav") if not {"aria-label", "aria-labelledby"} & set(nav)]
    assert 1 == levels.count(1)
    assert [] == [image for image in page.all("img") if "alt" not in image]
    assert [] == [cell for cell in page.all("th") if cell.get("scope") not in ("row", "col")]
    assert len(page.all("table")) == len(page.all("caption"))
    labels = {attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes}
    assert set() == labels - set(page.ids)


async def test_docs_show_every_operation_problem_and_object(gateway: Served) -> None:
    page = await load(gateway, "/docs")
    async with gateway.http.get("/v1/openapi.json") as response:
        document = await response.json()

    operations = [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    for method, path, operation in operations:
        assert f"op-{operation['operationId']}" in page.ids
        assert f"{method} {path}" in page.text
    statuses = {
        status
        for _, _, operation in operations
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    }
    assert set() == {f"problem-{status}" for status in statuses} - set(page.ids)
    assert set() == {f"schema-{name}" for name in document["components"]["schemas"]} - set(page.ids)


async def test_docs_are_sent_again_only_if_they_changed(gateway: Served) -> None:
    async with gateway.http.get("/docs") as first:
        etag = first.headers["ETag"]
    async with gateway.http.get("/docs", headers={"If-None-Match": etag}) as again:
        assert (304, b"", etag) == (again.status, await again.read(), again.headers["ETag"])
    async with gateway.http.get("/docs", headers={"If-None-Match": '"other"'}) as other:
        assert 200 == other.status


async def test_files_are_named_by_their_content_and_kept_for_good(gateway: Served) -> None:
    page = await load(gateway, "/docs")
    files = sorted(address for address in page.addresses if address.startswith("/static/"))

    assert ["icon", "reference", "style"] == [Path(file).name.split("-")[0] for file in files]
    for file in files:
        async with gateway.http.get(file) as response:
            assert "immutable" in response.headers["Cache-Control"]
    async with gateway.http.get("/static/style-000000000000.css") as response:
        assert 404 == response.status


async def test_old_name_of_the_icon_leads_to_it(gateway: Served) -> None:
    async with gateway.http.get("/favicon.ico") as response:
        assert (200, "image/svg+xml") == (response.status, response.content_type)


@pytest.mark.parametrize("path", PAGES)
async def test_head_answers_as_get_without_a_body(gateway: Served, path: str) -> None:
    async with gateway.http.get(path, headers=BROWSER) as get:
        status = get.status
    async with gateway.http.head(path, headers=BROWSER) as head:
        assert (status, b"") == (head.status, await head.read())


async def test_people_and_programs_that_lost_their_way_are_each_told_so_in_their_language(
    gateway: Served,
) -> None:
    async with gateway.http.get("/nowhere", headers=BROWSER) as page:
        assert (404, "text/html") == (page.status, page.content_type)
    async with gateway.http.get("/nowhere") as problem:
        assert (404, "application/problem+json") == (problem.status, problem.content_type)
    async with gateway.http.get("/v1/nowhere", headers=BROWSER) as problem:
        assert (404, "application/problem+json") == (problem.status, problem.content_type)


def test_prose_is_escaped_and_its_marks_become_tags() -> None:
    assert "<p>a &lt;b&gt; <code>&lt;c&gt;</code></p>" == mark_up("a <b> `<c>`")
    assert "<p>Keys:</p><ul><li><code>a</code>: one</li><li>two</li></ul>" == mark_up(
        "Keys:\n\n- `a`: one\n- two"
    )


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 1, "maxLength": 255}, "text, 1 to 255 characters"),
        ({"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, "whole number, 0 or more"),
        (
            {"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
            "whole number, 1 to 500, 50 if not given",
        ),
        ({"type": "boolean", "default": False}, "<code>true</code> or <code>false</code>"),
        ({"enum": ["in", "out"]}, "<code>in</code> or <code>out</code>"),
        (
            {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            "<code>true</code> or <code>false</code> or <code>null</code>",
        ),
        ({"type": "array", "items": {"$ref": "#/components/schemas/A"}}, 'list of <a href="#schema-A">A</a>'),
        (
            {"type": "array", "maxItems": 100, "items": {"type": "string", "minLength": 1, "maxLength": 9}},
            "list of at most 100: text, 1 to 9 characters",
        ),
        (
            {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
            "text, at most 9 characters; or <code>null</code>",
        ),
        ({"type": "string", "format": "date-time"}, "RFC 3339 time"),
    ],
)
def test_form_of_a_value_is_said_in_words(schema: dict[str, object], said: str) -> None:
    assert said == form_of(schema)


def test_problems_without_a_body_are_listed_as_problems() -> None:
    """
    An answer to HEAD holds no problem document, so it is written out instead of referred to.
    """
    reference = read_document(api_document(list_operations(Settings()), tags=TAGS))
    heads = [each for group in reference.groups for each in group.operations if each.method == "HEAD"]

    assert heads
    for operation in heads:
        assert [] == [answer.status for answer in operation.answers if answer.status >= "400"]
        assert {"401", "404"} <= {problem.status for problem in operation.problems}
