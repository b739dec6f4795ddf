"""
The OpenAPI 3.1 document, made of the same tables as the routes.

Schemas come from the types that requests are read into and answers are written from;
what a field means comes from the docstring below it.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Final

import msgspec

from gateway import __version__
from gateway.http import problems
from gateway.http.operations import REFUSALS, Answer, Operation, Parameter, Refusal, Schema
from gateway.services.details import KNOWN_FIELDS, Details

Document = dict[str, Any]

OPENAPI_VERSION: Final = "3.1.0"
_COMPONENTS: Final = "#/components/schemas/{name}"
_INTRODUCTION: Final = """\
Takes call recordings in, seals each one under its user's own key while its bytes arrive, plays them back by range, \
and destroys the key when the user deletes.

A request carries `Authorization: Bearer` and a token, except where none is needed. What belongs to another user looks \
exactly like what does not exist: 404.

Errors are problem documents (RFC 9457). A program switches on `code`; `retry` says whether the same work may succeed \
later."""

_MEDIA_TOKEN: Final = "[A-Za-z0-9!#$&^_.+-]{1,127}"
_DETAILS: Final[dict[str, tuple[str, Schema]]] = {
    "filename": ("The file's name on the phone.", {}),
    "filetype": (
        "A media type, such as `audio/mp4`.",
        {"pattern": f"^{_MEDIA_TOKEN}/{_MEDIA_TOKEN}( *;[ -~]*)?$"},
    ),
    "recorded_at": ("When the call took place: RFC 3339, with its offset from UTC.", {"format": "date-time"}),
    "duration_ms": ("How long the call was, in milliseconds.", {}),
    "direction": ("`in` for a call that came, `out` for one that was made.", {}),
    "party_number": ("The other party's number.", {}),
    "party_name": ("The other party's name.", {}),
    "note": ("Whatever the user wants to remember about it.", {}),
    "labels": ("Labels to find it by.", {}),
}
"""What the details of a recording mean, and what their type alone cannot say about their form."""


def api_document(operations: Iterable[Operation], *, tags: Mapping[str, str]) -> Document:
    """
    Return the OpenAPI document of *operations*; *tags* are the groups they come in, in order, with their meaning.
    """
    listed = list(operations)
    schema_of, components = _schemas(listed)
    paths: dict[str, Document] = {}
    used: set[int] = set()
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
        used.update(operation.problem_statuses)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "Recording gateway", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": meaning} for name, meaning in tags.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                REFUSALS[status].name: _refusal(REFUSALS[status], schema_of[problems.Problem])
                for status in sorted(used)
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token that the operator made with `gateway token new`.",
                }
            },
        },
    }


def details_meaning() -> str:
    """
    Describe the keys of ``Upload-Metadata`` that the gateway knows.
    """
    known = "\n".join(f"- `{name}`: {meaning}" for name, (meaning, _) in _DETAILS.items())
    return (
        "Pairs of a key and its base64 value, parted by commas. "
        "They are sealed under the recording's own key. Known keys:\n\n"
        f"{known}\n\n"
        "Labels are parted by commas. Other keys are kept and given back, and mean nothing here."
    )


def _operation(operation: Operation, schema_of: Mapping[type, Schema]) -> Document:
    has_content = operation.method != "HEAD"
    document: Document = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.details:
        document["description"] = operation.details
    if parameters := list(_parameters(operation)):
        document["parameters"] = parameters
    if operation.body is not None:
        document["requestBody"] = {
            "description": operation.body.meaning,
            "required": operation.body.is_required,
            "content": _content(operation.body.media_types, operation.body.schema, schema_of),
        }
    responses: dict[str, Document] = {
        str(status): _answer(answer, schema_of) for status, answer in operation.answers.items()
    }
    for status in operation.problem_statuses:
        refusal = REFUSALS[status]
        # Another shape of that status stands in the table; a HEAD has no body to hold a problem.
        if str(status) not in responses:
            responses[str(status)] = (
                {"$ref": f"#/components/responses/{refusal.name}"} if has_content else _refusal(refusal, None)
            )
    document["responses"] = dict(sorted(responses.items()))
    document["security"] = [{"token": []}] if operation.needs_token else []
    return document


def _parameters(operation: Operation) -> Iterable[Document]:
    if operation.id_of:
        yield {
            "name": "id",
            "in": "path",
            "required": True,
            "description": f"The id of {operation.id_of}.",
            "schema": dict(operation.id_schema),
        }
    for place, parameters in (("query", operation.query), ("header", operation.headers)):
        for parameter in parameters:
            yield {"name": parameter.name, "in": place, **_described(parameter)}


def _described(parameter: Parameter) -> Document:
    return {
        "description": parameter.meaning,
        "required": parameter.is_required,
        "schema": dict(parameter.schema),
    }


def _answer(answer: Answer, schema_of: Mapping[type, Schema]) -> Document:
    document: Document = {"description": answer.meaning}
    if answer.headers:
        document["headers"] = {header.name: _described(header) for header in answer.headers}
    if answer.schema is not None:
        document["content"] = _content(answer.media_types, answer.schema, schema_of)
    return document


def _refusal(refusal: Refusal, problem: Schema | None) -> Document:
    codes = ", ".join(f"`{code}`" for code in refusal.codes)
    answer = Answer(
        f"{refusal.title}. {refusal.meaning} Codes: {codes}.",
        problem,
        (problems.MEDIA_TYPE,),
        refusal.headers,
    )
    return _answer(answer, {})


def _content(media_types: Sequence[str], schema: type | Schema, schema_of: Mapping[type, Schema]) -> Document:
    written = schema_of[schema] if isinstance(schema, type) else schema
    return {media_type: {"schema": dict(written)} for media_type in media_types}


def _schemas(operations: Iterable[Operation]) -> tuple[dict[type, Schema], dict[str, Document]]:
    """
    Return the schema of each type that is sent or received, and the components they refer to.
    """
    wanted: list[Any] = [problems.Problem]
    for operation in operations:
        bodies = [] if operation.body is None else [operation.body.schema]
        wanted += [*bodies, *(answer.schema for answer in operation.answers.values())]
    kinds = list(dict.fromkeys(kind for kind in wanted if isinstance(kind, type)))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_COMPONENTS)
    by_name = {kind.__name__: kind for kind in _structs_in(kinds)}
    for name, component in components.items():
        meanings = _field_meanings(by_name[name]) if name in by_name else {}
        for field, schema in component.get("properties", {}).items():
            if field in meanings:
                schema["description"] = meanings[field]
    _share_details(components)
    return dict(zip(kinds, schemas, strict=True)), components


def _structs_in(kinds: Iterable[Any]) -> list[type]:
    """
    Return the structs among *kinds* and the structs that their fields hold.
    """
    found: dict[type, None] = {}
    pending = list(kinds)
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
            found[kind] = None
            pending += [field.type for field in msgspec.structs.fields(kind)]
        else:
            pending += getattr(kind, "__args__", ())
    return list(found)


@cache
def _field_meanings(kind: type) -> dict[str, str]:
    """
    Return the docstrings below the fields of a struct, which Python itself drops.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    meanings = {}
    for field, below in pairwise(definition.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            meanings[field.target.id] = inspect.cleandoc(str(below.value.value))
    return meanings


def _share_details(components: Mapping[str, Document]) -> None:
    """
    Give each detail the form that it is checked for, wherever it stands.
    """
    _, details = msgspec.json.schema_components([Details], ref_template=_COMPONENTS)
    checked = details["Details"]["properties"]
    for component in components.values():
        properties = component.get("properties", {})
        if not set(KNOWN_FIELDS) <= set(properties):
            continue
        for name, (meaning, form) in _DETAILS.items():
            schema = {key: value for key, value in checked[name].items() if key != "default"}
            choices = [
                {**choice, **form} for choice in schema.get("anyOf", [schema]) if choice != {"type": "null"}
            ]
            if "anyOf" in properties[name]:
                choices.append({"type": "null"})
            kept = {key: value for key, value in properties[name].items() if key == "default"}
            form_of_all = choices[0] if len(choices) == 1 else {"anyOf": choices}
            properties[name] = {"description": meaning, **form_of_all, **kept}
