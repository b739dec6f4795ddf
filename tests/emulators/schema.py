"""
What goes in and out of an emulator, held against types that its provider publishes, which a JSON Schema beside it tells.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError


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
        return [
            f"{type_name}{error.json_path.removeprefix('$')}: {error.message}"
            for error in self._errors(type_name, document)
        ]

    def wrong_names(self, type_name: str, document: dict[str, Any]) -> list[str]:
        """
        Return the properties of *document* that are wrong, unknown or missing.
        """
        names: list[str] = []
        for error in self._errors(type_name, document):
            match error.validator:
                case "required":
                    names += [name for name in error.validator_value if name not in document]
                case "additionalProperties" if not error.path:
                    names += [name for name in document if name not in error.schema["properties"]]
                case _:
                    names.append(str(error.path[0]))
        return list(dict.fromkeys(names))

    def checked(self, type_name: str, document: dict[str, Any]) -> dict[str, Any]:
        """
        Return *document*, which the emulator made, having checked that its provider could have said it.
        """
        found = self.violations(type_name, document)
        assert not found, found
        return document

    def _errors(self, type_name: str, document: Any) -> Iterator[ValidationError]:
        if type_name not in self._validators:
            schema = self._types | {"$ref": f"#/$defs/{type_name}"}
            self._validators[type_name] = Draft202012Validator(schema)
        return self._validators[type_name].iter_errors(document)
