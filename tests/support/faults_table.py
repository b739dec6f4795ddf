"""
The table in docs/plugins/faults.md: what comes of each fault at each cloud.
"""

from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "plugins" / "faults.md"
_COLUMNS: Final = ("gdrive", "onedrive", "dropbox", "s3")


def cells_of(kind: str) -> dict[str, str]:
    """
    Return the column of *kind*, by fault, without the cells that are empty.
    """
    column = _COLUMNS.index(kind)
    return {name: cells[column] for name, cells in _rows(_lines()).items() if cells[column]}


def write_cell(kind: str, fault: str, outcome: str) -> None:
    """
    Put *outcome* into the document.
    """
    lines = _lines()
    rows = _rows(lines)
    rows.setdefault(fault, [""] * len(_COLUMNS))[_COLUMNS.index(kind)] = outcome
    before = [line for line in lines if not line.startswith("|")]
    table = ["| fault | " + " | ".join(_COLUMNS) + " |", "|---" * 5 + "|"]
    table += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    DOCUMENT.write_text("\n".join([*before, *table]) + "\n", "utf-8")


def _lines() -> list[str]:
    return DOCUMENT.read_text("utf-8").splitlines()


def _rows(lines: list[str]) -> dict[str, list[str]]:
    return {
        cells[0]: cells[1:]
        for line in lines
        if line.startswith("| ")
        and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5
        and cells[0] != "fault"
    }
