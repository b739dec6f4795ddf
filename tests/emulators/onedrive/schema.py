"""
What goes in and out of the pretend Graph, held against the types that Microsoft publishes.
"""

import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

_FILE: Final = Path(__file__).with_name("schema.json")
_TYPES: Final = json.loads(_FILE.read_text())
_VALIDATORS: Final[dict[str, Draft202012Validator]] = {}


def violations(type_name: str, document: Any) -> list[str]:
    """
    Return in what *document* is not of that type; empty if it is.
    """
    if type_name not in _VALIDATORS:
        _VALIDATORS[type_name] = Draft202012Validator(_TYPES | {"$ref": f"#/$defs/{type_name}"})
    return [
        f"{type_name}{error.json_path.removeprefix('$')}: {error.message}"
        for error in _VALIDATORS[type_name].iter_errors(document)
    ]


def checked(type_name: str, document: dict[str, Any]) -> dict[str, Any]:
    """
    Return *document*, which the emulator made, having checked that Graph could have said it.
    """
    found = violations(type_name, document)
    assert not found, found
    return document
