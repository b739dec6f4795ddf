"""
The table in docs/plugins/faults.md: what comes of each fault at each cloud.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "plugins" / "faults.md"
_COLUMNS: Final = ("gdrive", "onedrive", "dropbox", "s3")


def cells_of(kind: str, outcomes: Mapping[str, str], *, write: bool) -> dict[str, str]:
    """
    Return the document's column of *kind*; with *write*, put *outcomes* there first.
    """
    lines = DOCUMENT.read_text("utf-8").splitlines()
    rows = {
        cells[0]: cells[1:]
        for line in lines
        if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5
    }
    column = _COLUMNS.index(kind)
    if write:
        for name, outcome in outcomes.items():
            rows.setdefault(name, [""] * len(_COLUMNS))[column] = outcome
        before = [line for line in lines if not line.startswith("|")]
        table = ["| fault | " + " | ".join(_COLUMNS) + " |", "|---" * 5 + "|"]
        table += [
            f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items() if name != "fault"
        ]
        DOCUMENT.write_text("\n".join([*before, *table]) + "\n", "utf-8")
    return {name: cells[column] for name, cells in rows.items() if name != "fault" and cells[column]}
