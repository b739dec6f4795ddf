"""
An OpenAPI document, turned into what a page shows of it.

Knows the parts of OpenAPI that our own document uses, and nothing of the gateway.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from markupsafe import Markup, escape

Json = Mapping[str, Any]

_SENT_NAMES: Final = {"path": "In the address", "query": "In the query", "header": "Headers"}
_FORMATS: Final = {"uuid": "UUID", "date-time": "RFC 3339 time", "binary": "bytes"}
_LARGEST: Final = 2**53
"""A bound beyond this says nothing to a reader."""


@dataclass(frozen=True, slots=True)
class Field:
    """
    A row of a table: a parameter, a header, or a field of a JSON object.
    """

    name: str
    form: Markup
    is_required: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class FieldTable:
    """
    Rows under one caption.
    """

    caption: str
    rows: list[Field]


@dataclass(frozen=True, slots=True)
class Content:
    """
    A body: its media types and its form.
    """

    media_types: list[str]
    form: Markup


@dataclass(frozen=True, slots=True)
class AnswerView:
    """
    One status that an operation succeeds with, or one problem.
    """

    status: str
    title: str
    meaning: str
    headers: list[Field]
    content: Content | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationView:
    """
    One operation.
    """

    anchor: str
    method: str
    path: str
    summary: str
    details: str
    needs_token: bool
    tables: list[FieldTable]
    body: Content | None
    body_meaning: str
    body_is_required: bool
    answers: list[AnswerView]
    problems: list[AnswerView]


@dataclass(frozen=True, slots=True)
class Group:
    """
    Operations under one heading.
    """

    name: str
    anchor: str
    meaning: str
    operations: list[OperationView]


@dataclass(frozen=True, slots=True)
class SchemaView:
    """
    One JSON object.
    """

    name: str
    anchor: str
    meaning: str
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Reference:
    """
    The whole document.
    """

    title: str
    version: str
    meaning: str
    groups: list[Group]
    problems: list[AnswerView]
    schemas: list[SchemaView]


def read_document(document: Json) -> Reference:
    """
    Return what a page shows of *document*.
    """
    problems = _problems(document)
    operations = [
        (tag, view)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for view in [_operation(method, path, operation, problems)]
        for tag in operation["tags"]
    ]
    return Reference(
        title=document["info"]["title"],
        version=document["info"]["version"],
        meaning=document["info"]["description"],
        groups=[
            Group(
                name=tag["name"],
                anchor=_anchor("group", tag["name"]),
                meaning=tag["description"],
                operations=[view for name, view in operations if name == tag["name"]],
            )
            for tag in document["tags"]
        ],
        problems=list(problems.values()),
        schemas=[
            SchemaView(
                name=name,
                anchor=_anchor("schema", name),
                meaning=schema.get("description", ""),
                fields=list(_fields(schema)),
            )
            for name, schema in document["components"]["schemas"].items()
        ],
    )


def mark_up(text: str) -> Markup:
    """
    Turn prose into HTML: paragraphs, lists of lines that begin with a dash, `code` in backticks.
    """
    return Markup("").join(_mark_up_block(block) for block in text.split("\n\n"))


def _mark_up_block(block: str) -> Markup:
    if not block.startswith("- "):
        return Markup("<p>{}</p>").format(mark_up_line(block))
    lines = (line.removeprefix("- ") for line in block.splitlines())
    items = Markup("").join(Markup("<li>{}</li>").format(mark_up_line(line)) for line in lines)
    return Markup("<ul>{}</ul>").format(items)


def mark_up_line(text: str) -> Markup:
    """
    Turn a line of prose into HTML that may stand within other text.
    """
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part)
        if number % 2
        else escape(part.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}"))
        for number, part in enumerate(parts)
    )


def _problems(document: Json) -> dict[str, AnswerView]:
    """
    Return the shared answers by their status, which only the operations that refer to them know.
    """
    statuses = {
        response["$ref"]: status
        for item in document["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if "$ref" in response
    }
    shared = document["components"]["responses"]
    return {
        status: _answer(status, shared[reference.rpartition("/")[2]])
        for reference, status in sorted(statuses.items(), key=lambda item: item[1])
    }


def _operation(method: str, path: str, operation: Json, problems: Mapping[str, AnswerView]) -> OperationView:
    body = operation.get("requestBody")
    parameters = operation.get("parameters", [])
    answers = {
        status: response
        for status, response in operation["responses"].items()
        if "$ref" not in response and not (status in problems and method == "head")
    }
    tables = [
        FieldTable(caption, rows)
        for place, caption in _SENT_NAMES.items()
        if (rows := [_field(each) for each in parameters if each["in"] == place])
    ]
    return OperationView(
        anchor=_anchor("op", operation["operationId"]),
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        details=operation.get("description", ""),
        needs_token=bool(operation["security"]),
        tables=tables,
        body=None if body is None else _content(body),
        body_meaning="" if body is None else body["description"],
        body_is_required=body is not None and body["required"],
        answers=[_answer(status, response) for status, response in answers.items()],
        problems=[problems[status] for status in operation["responses"] if status not in answers],
    )


def _answer(status: str, response: Json) -> AnswerView:
    meaning = response["description"]
    title, _, rest = meaning.partition(". ")
    try:
        phrase = HTTPStatus(int(status)).phrase
    except ValueError:
        phrase = title
    is_problem = int(status) >= 400 and bool(rest)
    return AnswerView(
        status=status,
        title=title if is_problem else phrase,
        meaning=rest if is_problem else meaning,
        headers=[_field({"name": name, **header}) for name, header in response.get("headers", {}).items()],
        content=_content(response) if "content" in response else None,
    )


def _content(holder: Json) -> Content:
    content = holder["content"]
    first = next(iter(content.values()))
    return Content(list(content), form_of(first["schema"]))


def _field(parameter: Json) -> Field:
    form = form_of(parameter["schema"])
    return Field(
        name=parameter["name"],
        # That a header is text goes without saying.
        form=Markup("") if form == "text" else form,
        is_required=parameter.get("required", False),
        meaning=parameter["description"],
    )


def _fields(schema: Json) -> Iterator[Field]:
    for name, form in schema.get("properties", {}).items():
        yield Field(name, form_of(form), name in schema.get("required", ()), form.get("description", ""))


def form_of(schema: Json) -> Markup:
    """
    Say in a few words what a value of *schema* looks like.
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#{}">{}</a>').format(_anchor("schema", name), name)
    if "anyOf" in schema:
        choices = [form_of(choice) for choice in schema["anyOf"]]
        has_commas = any("," in choice for choice in choices)
        return (Markup("; or ") if has_commas else Markup(" or ")).join(choices)
    if "const" in schema:
        return Markup("always {}").format(_codes([schema["const"]]))
    if "enum" in schema:
        return _codes(schema["enum"])
    words = _word_of(schema)
    limits = ", ".join(_limits(schema))
    return Markup("{}, {}").format(words, limits) if limits else words


def _codes(values: Iterable[object]) -> Markup:
    return Markup(" or ").join(Markup("<code>{}</code>").format(value) for value in values)


def _word_of(schema: Json) -> Markup:
    match schema.get("type"):
        case "array":
            most = f"at most {schema['maxItems']}: " if "maxItems" in schema else ""
            return Markup("list of {}{}").format(most, form_of(schema["items"]))
        case "integer":
            return Markup("whole number")
        case "boolean":
            return _codes(["true", "false"])
        case "null":
            return _codes(["null"])
        case "object":
            return Markup("object")
        case _:
            return escape(_FORMATS.get(schema.get("format", ""), "text"))


def _limits(schema: Json) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and high < _LARGEST:
        yield f"{_number(low or 0)} to {_number(high)}"
    elif low is not None:
        yield f"{_number(low)} or more"
    if schema.get("type") == "integer" and "default" in schema:
        yield f"{schema['default']} if not given"
    if "maxLength" in schema:
        least = f"{schema['minLength']} to" if "minLength" in schema else "at most"
        yield f"{least} {_number(schema['maxLength'])} characters"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{re.sub('[^A-Za-z0-9]+', '-', name)}"
