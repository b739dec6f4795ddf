"""
Settings as a daemon's environment.
"""

import json
from collections.abc import Mapping
from typing import Any


def inline_table(values: Mapping[str, Any]) -> str:
    """
    Write a TOML inline table.
    """
    cells = (
        f"{name} = {inline_table(value) if isinstance(value, dict) else json.dumps(value)}"
        for name, value in values.items()
    )
    return "{" + ", ".join(cells) + "}"
