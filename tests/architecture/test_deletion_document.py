"""
DELETION lists every column and what becomes of it: one that nobody thought about shows here.
"""

import re
from pathlib import Path

from gateway.catalog.tables import metadata as catalog
from gateway.keyring.tables import metadata as keys

DOCUMENT = Path(__file__).parents[2] / "docs" / "DELETION.md"


def test_every_column_is_listed_with_its_fate() -> None:
    stored = [
        f"{table.name}.{column.name}"
        for metadata in (catalog, keys)
        for table in metadata.sorted_tables
        for column in table.columns
    ]
    listed = re.findall(r"^\| (\w+\.\w+) \|(?: [^|]+ \|){3}$", DOCUMENT.read_text(), re.MULTILINE)
    listed = [name for name in listed if name != "table.column"]
    assert sorted(stored) == sorted(listed)
