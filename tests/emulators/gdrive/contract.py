"""
What the discovery document of Drive v3 says about a request, checked; and answers cut to the fields that were asked for.

The document is the one in Google's own client library, so it is the same that the client builds its requests from.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from googleapiclient.discovery_cache import get_static_doc

from tests.emulators.gdrive.refusals import Refused, invalid, scope_missing

DOCUMENT: Final = json.loads(get_static_doc("drive", "v3"))
_SCHEMAS: Final = DOCUMENT["schemas"]
_DEFAULT_FIELDS: Final = {
    "File": {"kind", "id", "name", "mimeType", "resourceKey"},
    "FileList": {"kind", "nextPageToken", "incompleteSearch", "files"},
    "GeneratedIds": {"kind", "space", "ids"},
}

_PASSED_OVER: Final = {"setModifiedDate"}
"""Of the version before; rclone still sends it, so the real one takes no notice."""

Mask = dict[str, Any]
"""Names of fields, each with the mask of what is in it; an empty one takes everything."""


class Method:
    """
    One method of the API, by its id in the document, such as ``drive.files.get``.
    """

    def __init__(self, method_id: str) -> None:
        self.id = method_id
        found: Any = DOCUMENT
        *resources, name = method_id.split(".")[1:]
        for resource in resources:
            found = found["resources"][resource]
        self._described = found["methods"][name]
        self._parameters = {**DOCUMENT["parameters"], **self._described.get("parameters", {})}
        self.answer: str | None = self._described.get("response", {}).get("$ref")

    @property
    def path(self) -> str:
        """
        The path below the root, as a route.
        """
        return f"/{DOCUMENT['servicePath']}{self._described['path']}"

    @property
    def upload_paths(self) -> list[str]:
        """
        The paths that take the content too.
        """
        protocols = self._described["mediaUpload"]["protocols"]
        return [protocol["path"] for protocol in protocols.values()]

    @property
    def largest(self) -> int:
        return int(self._described["mediaUpload"]["maxSize"])

    def check(
        self, query: Mapping[str, str], scopes: frozenset[str], *, upload: bool = False
    ) -> dict[str, str]:
        """
        Check the scopes and every query parameter; return these with the defaults filled in.
        """
        if not scopes & set(self._described["scopes"]):
            raise scope_missing(self.id)
        for name, value in query.items():
            if name in _PASSED_OVER:
                continue
            described = self._parameters.get(name)
            if described is None or described["location"] != "query":
                raise Refused(
                    400,
                    "badRequest",
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.',
                )
            if name == "uploadType" and not upload:
                raise invalid(name, "uploadType is for the upload paths.")
            _check_parameter(name, value, described)
        defaults = {
            name: described["default"]
            for name, described in self._parameters.items()
            if "default" in described and described["location"] == "query"
        }
        return {**defaults, **query}

    def check_body(self, body: Any) -> dict[str, Any]:
        """
        Check the body against its schema; return what of it may be written.
        """
        schema = self._described["request"]["$ref"]
        if not isinstance(body, dict):
            raise Refused(400, "parseError", "Parse Error")
        _check_value(schema, {"$ref": schema}, body)
        for name in body:
            if _SCHEMAS[schema]["properties"][name].get("description", "").startswith("Output only."):
                raise Refused(
                    403,
                    "fieldNotWritable",
                    f"The resource body includes fields which are not directly writable: {name}",
                )
        return body

    def answered(self, document: dict[str, Any], query: Mapping[str, str]) -> web.Response:
        """
        Return *document*, cut to the fields that *query* asks for, or to those that come by default.
        """
        assert self.answer is not None
        return web.json_response(self.cut(document, query))

    def mask(self, query: Mapping[str, str]) -> Mask:
        """
        Return the fields that *query* asks for, having checked that there are such.
        """
        assert self.answer is not None
        if "fields" not in query:
            return _by_default(self.answer)
        mask = _parsed(query["fields"])
        _check_mask(mask, {"$ref": self.answer}, query["fields"])
        return mask

    def cut(self, document: dict[str, Any], query: Mapping[str, str]) -> Any:
        return _cut(document, self.mask(query))


def _check_parameter(name: str, value: str, described: Mapping[str, Any]) -> None:
    problem = invalid(name, f"Invalid value '{value}' for parameter {name}.")
    match described["type"]:
        case "boolean" if value not in {"true", "false"}:
            raise problem
        case "integer":
            if not value.lstrip("-").isdigit():
                raise problem
            if "minimum" in described and int(value) < int(described["minimum"]):
                raise problem
            if "maximum" in described and int(value) > int(described["maximum"]):
                raise problem
    if "enum" in described and value not in described["enum"]:
        raise problem


def _check_value(path: str, schema: Mapping[str, Any], value: Any) -> None:
    if "$ref" in schema:
        schema = _SCHEMAS[schema["$ref"]]
    problem = Refused(
        400, "badRequest", f"Invalid value at '{path}' ({schema.get('format', schema['type'])})."
    )
    match schema["type"]:
        case "object":
            if not isinstance(value, dict):
                raise problem
            for name, inner in value.items():
                described = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
                if described is None:
                    raise Refused(
                        400,
                        "badRequest",
                        f"Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field.",
                    )
                if inner is not None:
                    _check_value(f"{path}.{name}", described, inner)
        case "array":
            if not isinstance(value, list):
                raise problem
            for inner in value:
                _check_value(path, schema["items"], inner)
        case "boolean":
            if not isinstance(value, bool):
                raise problem
        case "integer":
            if not isinstance(value, int) or isinstance(value, bool):
                raise problem
        case "string":
            is_number = schema.get("format") in {"int64", "uint64"} and isinstance(value, int)
            if not isinstance(value, str) and not is_number:
                raise problem


# Fields


def _by_default(schema: str) -> Mask:
    mask: Mask = {name: {} for name in _DEFAULT_FIELDS[schema]}
    if "files" in mask:
        mask["files"] = _by_default("File")
    return mask


def _parsed(text: str) -> Mask:
    """
    Return the mask that ``a,b/c,d(e,f)`` writes.
    """
    mask, rest = _parsed_list(text.replace(" ", ""))
    if rest or not mask:
        raise invalid("fields", f"Invalid field selection {text}")
    return mask


def _parsed_list(text: str) -> tuple[Mask, str]:
    mask: Mask = {}
    while True:
        name, text = _name(text)
        here = mask.setdefault(name, {})
        while text.startswith("/"):
            name, text = _name(text[1:])
            here = here.setdefault(name, {})
        if text.startswith("("):
            inner, text = _parsed_list(text[1:])
            if not text.startswith(")"):
                raise invalid("fields", "Invalid field selection: a parenthesis is not closed")
            here.update(inner)
            text = text[1:]
        if not text.startswith(","):
            return mask, text
        text = text[1:]


def _name(text: str) -> tuple[str, str]:
    end = next((at for at, letter in enumerate(text) if letter in ",/()"), len(text))
    if end == 0:
        raise invalid("fields", "Invalid field selection")
    return text[:end], text[end:]


def _check_mask(mask: Mask, schema: Mapping[str, Any], text: str) -> None:
    while True:
        if "$ref" in schema:
            schema = _SCHEMAS[schema["$ref"]]
        elif schema.get("type") == "array":
            schema = schema["items"]
        else:
            break
    for name, inner in mask.items():
        described = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
        if name != "*" and described is None:
            raise invalid("fields", f"Invalid field selection {name}")
        if described is not None:
            _check_mask(inner, described, text)


def _cut(value: Any, mask: Mask) -> Any:
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [_cut(inner, mask) for inner in value]
    return {name: _cut(inner, mask[name]) for name, inner in value.items() if name in mask}
