"""
The query language of ``files.list``, as far as its manual goes for what is stored here.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from tests.emulators.gdrive.refusals import invalid

Document = dict[str, Any]
Matches = Callable[[Document], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?: (?P<text>'(?:[^'\\]|\\.)*') | (?P<sign>!=|<=|>=|=|<|>|\(|\)|\{|\}) | (?P<word>[A-Za-z]+) )""",
    re.VERBOSE,
)


def parsed(query: str) -> Matches:
    """
    Return what tells whether a file matches *query*.
    """
    parser = _Parser(query)
    matches = parser.alternatives()
    parser.expect_end()
    return matches


class _Parser:
    def __init__(self, query: str) -> None:
        self._tokens: list[str] = []
        at = 0
        query = query.rstrip()
        while at < len(query):
            found = _TOKEN.match(query, at)
            if found is None:
                raise invalid("q", "Invalid Value")
            self._tokens.append(found.group().strip())
            at = found.end()

    def alternatives(self) -> Matches:
        found = [self._all_of()]
        while self._took("or"):
            found.append(self._all_of())
        return lambda file: any(matches(file) for matches in found)

    def expect_end(self) -> None:
        if self._tokens:
            raise invalid("q", "Invalid Value")

    def _all_of(self) -> Matches:
        found = [self._one()]
        while self._took("and"):
            found.append(self._one())
        return lambda file: all(matches(file) for matches in found)

    def _one(self) -> Matches:
        if self._took("not"):
            inner = self._one()
            return lambda file: not inner(file)
        if self._took("("):
            inner = self.alternatives()
            self._need(")")
            return inner
        if self._tokens and self._tokens[0].startswith("'"):
            value = self._text()
            self._need("in")
            self._need("parents")
            return lambda file: value in file.get("parents", [])
        return self._comparison()

    def _comparison(self) -> Matches:
        field, operator = self._next(), self._next()
        if field in {"properties", "appProperties"} and operator == "has":
            return self._has(field)
        if field in {"trashed", "starred"} and operator in {"=", "!="}:
            wanted = (self._next() == "true") is (operator == "=")
            return lambda file: file.get(field, False) is wanted
        if field not in {"name", "mimeType", "modifiedTime", "createdTime"}:
            raise invalid("q", "Invalid Value")
        value = self._text()
        match operator:
            case "=":
                # Without regard to case, as the real one searches.
                return lambda file: str(file[field]).casefold() == value.casefold()
            case "!=":
                return lambda file: str(file[field]).casefold() != value.casefold()
            case "contains" if field in {"name", "mimeType"}:
                return lambda file: str(file[field]).casefold().startswith(value.casefold())
            case "<" if field.endswith("Time"):
                return lambda file: str(file[field]) < value
            case "<=" if field.endswith("Time"):
                return lambda file: str(file[field]) <= value
            case ">" if field.endswith("Time"):
                return lambda file: str(file[field]) > value
            case ">=" if field.endswith("Time"):
                return lambda file: str(file[field]) >= value
        raise invalid("q", "Invalid Value")

    def _has(self, field: str) -> Matches:
        self._need("{")
        self._need("key")
        self._need("=")
        key = self._text()
        self._need("and")
        self._need("value")
        self._need("=")
        value = self._text()
        self._need("}")
        return lambda file: file.get(field, {}).get(key) == value

    def _next(self) -> str:
        if not self._tokens:
            raise invalid("q", "Invalid Value")
        return self._tokens.pop(0)

    def _text(self) -> str:
        token = self._next()
        if not token.startswith("'"):
            raise invalid("q", "Invalid Value")
        return re.sub(r"\\(.)", r"\1", token[1:-1])

    def _took(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            del self._tokens[0]
            return True
        return False

    def _need(self, token: str) -> None:
        if not self._took(token):
            raise invalid("q", "Invalid Value")
