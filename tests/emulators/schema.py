"""
What goes in and out of an emulator, held against types that its provider publishes, which a JSON Schema beside it tells.
"""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator


class Types:
    """
    The types under ``$defs`` of one file.
    """

    def __init__(self, file: Path) -> None:
        self._types = json.loads(file.read_text())
        self._validators: dict[str, Draft202012Validator] = {}

    def violations(self, type_name: str, document: Any) -> list[str]:
        """
        Return in what *document* is not of that type; empty if it is.
        """
        if type_name not in self._validators:
            schema = self._types | {"$ref": f"#/$defs/{type_name}"}
            self._validators[type_name] = Draft202012Validator(schema)
        return [
            f"{type_name}{error.json_path.removeprefix('$')}: {error.message}"
            for error in self._validators[type_name].iter_errors(document)
        ]

    def checked(self, type_name: str, document: dict[str, Any]) -> dict[str, Any]:
        """
        Return *document*, which the emulator made, having checked that its provider could have said it.
        """
        found = self.violations(type_name, document)
        assert not found, found
        return document
