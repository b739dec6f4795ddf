"""
docs/app.md in its parts: the examples in their order, and the table of answers.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from tests.support.tree import ROOT

TEXT: Final = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
ADDRESS: Final = "https://calls.example.org"
"""Where the gateway of the examples is."""

_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW: Final = re.compile(
    r"^\| (\d{3}(?:, \d{3})*) \| (?:`([^`]+)`)? ?\| (?:`([^`]+)`)? ?\| .+ \|$", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """
    A fenced block.
    """

    language: str
    text: str

    def at(self, address: str) -> str:
        """
        Return its text with the gateway at *address*.
        """
        return self.text.replace(ADDRESS, address)


BLOCKS: Final = [Block(language, text) for language, text in _BLOCK.findall(TEXT)]


@dataclass(frozen=True)
class Row:
    """
    What the table names of one answer; *code* and *header* are empty where it names none.
    """

    statuses: tuple[int, ...]
    code: str
    header: str


ROWS: Final = [
    Row(tuple(map(int, statuses.split(", "))), code, header) for statuses, code, header in _ROW.findall(TEXT)
]


def program(address: str) -> dict[str, Any]:
    """
    Return what the Python examples define, made for the gateway at *address*.
    """
    defined: dict[str, Any] = {}
    for block in BLOCKS:
        if block.language == "python":
            exec(compile(block.at(address), "docs/app.md", "exec"), defined)
    return defined
