"""
What a notice says: one template of each kind, in Markdown, from which a mail's two parts and the pages are made.

What a notice is about may have been named by anybody, so it is escaped wherever it stands in a text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from gateway.base.wording import day, moment

Facts = Mapping[str, Any]
"""What a template is filled with: JSON values."""

_LONGEST_TITLE: Final = 200
_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")
_TEMPLATES: Final = "texts"


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What a kind of notice is like.

    Attributes:
        template: its text, in the folder of the templates.
        is_pressing: whether all pages say that there is one, until it is read.
    """

    template: str
    is_pressing: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "policy": Kind("policy", is_pressing=True),
    "breach": Kind("announcement", is_pressing=True),
    "transfer": Kind("announcement", is_pressing=True),
    "announcement": Kind("announcement"),
    "expiring": Kind("expiring"),
    "link-ending": Kind("link-ending"),
    "link-trouble": Kind("link-trouble"),
    "unused": Kind("unused", is_pressing=True),
    "leaving": Kind("leaving", is_pressing=True),
    "staying": Kind("staying"),
}
"""All that users are told, by the name that catalog and API know it by."""

PRESSING: Final = frozenset(name for name, kind in KINDS.items() if kind.is_pressing)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeText:
    """
    What a notice says; *html* is safe to show.
    """

    title: str
    plain: str
    html: str


class _AsItIs(str):
    __slots__ = ()


class NoticeTexts:
    """
    Writes notices out.

    *base* stands before the addresses of pages: nothing on the pages themselves, the gateway's public address in mails.
    """

    def __init__(self, *, base: str) -> None:
        self._plain = _environment(finalize=_on_one_line, link=partial(_plain_link, base))
        self._marked = _environment(finalize=_escaped, link=partial(_marked_link, base))

    def text_of(self, kind: str, facts: Facts) -> NoticeText:
        """
        Return what a notice of *kind* says about *facts*.

        Raises:
            KeyError: there is no such kind.
            UndefinedError: a fact is missing that its template names.
        """
        template = f"{KINDS[kind].template}.md"
        title, plain = _parted(self._plain.get_template(template).render(facts))
        _, marked = _parted(self._marked.get_template(template).render(facts))
        return NoticeText(title=title, plain=plain, html=markdown_to_html(marked))


def markdown_to_html(text: str) -> str:
    """
    Turn Markdown (CommonMark) into HTML that is safe to show: HTML in it is shown as the text it is, images are left out.
    """
    return str(_MARKDOWN.render(text))


_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).disable("image")


def _environment(**options: Any) -> Environment:
    link = options.pop("link")
    environment = Environment(
        loader=PackageLoader("gateway.services", _TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - it is Markdown, which `finalize` escapes
        **options,
    )
    environment.filters.update(day=day, moment=moment, as_it_is=_AsItIs)
    environment.globals.update(link=link)
    return environment


def _plain_link(base: str, path: str, words: str) -> str:
    return _AsItIs(f"{words}: <{base}{path}>")


def _marked_link(base: str, path: str, words: str) -> str:
    return _AsItIs(f"[{_escaped(words)}]({base}{path})")


def _on_one_line(value: Any) -> str:
    return str(value) if isinstance(value, _AsItIs) else " ".join(str(value).split())


def _escaped(value: Any) -> str:
    if isinstance(value, _AsItIs):
        return str(value)
    return _PUNCTUATION.sub(r"\\\1", _on_one_line(value))


def _parted(written: str) -> tuple[str, str]:
    """
    Part a text into its heading and what follows.
    """
    heading, _, rest = written.strip().partition("\n")
    title = "".join(letter for letter in heading.removeprefix("#").strip() if letter.isprintable())
    return title[:_LONGEST_TITLE], rest.strip() + "\n"
