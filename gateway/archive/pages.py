"""
The pages of an archive: they open in any browser, offline, and need no script.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.base import wording

_WHY: Final = {
    "erased": "It was deleted, or had expired, after this archive was asked for. Its key is destroyed.",
    "damaged": "What is stored of it is damaged, in every copy. It cannot be heard any more.",
    "lost": "It is not where it should lie, and there is no other copy.",
    "unreachable": "The place where it lies could not be reached: a cloud that was unlinked, or did not answer for long.",
    "details-damaged": "It was taken along, but what was noted about it is damaged and cannot be read.",
    "not-stored-yet": "It had not come to its place in storage yet, so there was no sealed form of it to take along.",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """
    Why a recording is not in the archive, or not all of it.
    """

    reason: str

    @property
    def words(self) -> str:
        """
        The reason, for people.
        """
        return _WHY[self.reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One recording in words for people; *file* is None where it is not in the archive.
    """

    number: int
    title: str
    direction: str
    when: str
    size: int
    duration_ms: int | None
    party: str
    labels: Sequence[str]
    note: str
    file: str | None
    sealed_file: str | None
    missing: Missing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pager:
    """
    Which page this is, from 1 on, of how many.
    """

    number: int
    pages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """
    What the first page says of the whole; *missing* is how many recordings are, by the pages that list them.
    """

    name: str
    began: str
    recordings: int
    has_audio: bool
    has_sealed: bool
    missing: Sequence[tuple[int, int]]
    personal: Sequence[tuple[str, str]]
    """Name and title of each file."""

    @property
    def missing_in_all(self) -> int:
        return sum(count for _, count in self.missing)


def page_name(number: int) -> str:
    """
    Return the file of a page.
    """
    return "index.html" if number == 1 else f"pages/{number:04}.html"


def list_name(number: int) -> str:
    """
    Return the file that tells programs what a page tells people.
    """
    return f"recordings-{number:04}.json"


def keys_name(number: int) -> str:
    """
    Return the file with the keys of a page's sealed recordings.
    """
    return f"sealed/keys-{number:04}.json"


def render_page(calls: Sequence[Call], pager: Pager, overview: Overview | None) -> bytes:
    """
    Return a page; the first one has the *overview*.
    """
    up = "" if pager.number == 1 else "../"
    text = _TEMPLATES.get_template("page.html").render(
        calls=calls, pager=pager, overview=overview, up=up, page_name=page_name, list_name=list_name
    )
    return text.encode()


def _address(name: str) -> str:
    return quote(name, safe="/")


_TEMPLATES: Final = Environment(
    loader=PackageLoader(__package__ or "gateway.archive"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(address=_address, size=wording.size, call_length=wording.length)
