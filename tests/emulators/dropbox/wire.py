"""
How Dropbox's API speaks HTTP, driven by the route objects of Dropbox's own library.

A request's argument is decoded as strictly as the library's generator describes it, and every answer is encoded by the
same objects, so neither can drift from the published interface.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from stone.backends.python_rsrc import stone_serializers
from stone.backends.python_rsrc.stone_validators import ValidationError, Void

from tests.emulators.cloud import Account, Content

_BYTES_TYPES: Final = ("application/octet-stream", "text/plain; charset=dropbox-cors-hack")
_JSON_TYPES: Final = (
    "application/json",
    "application/json; charset=utf-8",
    "text/plain; charset=dropbox-cors-hack",
)


@dataclass
class Call:
    """
    One call of a route.
    """

    request: web.Request
    account: Account
    arg: Any
    content: Content | None
    """What came with it, for routes that take bytes."""


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """
    One route: the library's object, what it is called in faults, the scope that it needs.
    """

    operation: str
    namespace: str
    stone: Any
    scope: str | None
    handler: Handler

    @property
    def name(self) -> str:
        version = "" if self.stone.version == 1 else f"_v{self.stone.version}"
        return f"{self.namespace}/{self.stone.name}{version}"

    @property
    def host(self) -> str:
        return str(self.stone.attrs["host"])

    @property
    def style(self) -> str:
        return str(self.stone.attrs["style"])


class BadInput(Exception):
    """
    The request is not one; the answer is 400 with a sentence.
    """


class RouteError(Exception):
    """
    The route's own error, a union of the library's; the answer is 409.
    """

    def __init__(self, error: Any) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class Answered(Exception):
    """
    The answer, whatever the route.
    """

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_answer(document: Any, status: int = 200, **headers: str) -> web.Response:
    # Bytes, for with text aiohttp would add a charset that Dropbox does not send.
    body = json.dumps(document).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def error_answer(status: int, error: dict[str, Any], **headers: str) -> web.Response:
    """
    Return an error as Dropbox tells it: a summary for people, which programs must not read, and tags.
    """
    summary = "/".join(_tags(error)) + "/.."
    return json_answer({"error_summary": summary, "error": error}, status, **headers)


def throttled(reason: str, retry_after_s: int) -> web.Response:
    error = {"reason": {".tag": reason}, "retry_after": retry_after_s}
    return json_answer(
        {"error_summary": f"{reason}/..", "error": error}, 429, **{"Retry-After": str(retry_after_s)}
    )


def argument(route: Route, request: web.Request, body: bytes) -> Any:
    """
    Return the decoded argument of a call.

    Raises:
        BadInput: it is not one.
    """
    content_type = request.headers.get("Content-Type")
    if route.style == "rpc":
        if content_type not in (*_JSON_TYPES, None) or (content_type is None and body):
            raise BadInput(f'Bad HTTP "Content-Type" header: "{content_type}".')
        text = body.decode("utf-8", "replace")
        if isinstance(route.stone.arg_type, Void):
            text = text or "null"
    else:
        if route.style == "upload" and content_type not in _BYTES_TYPES:
            raise BadInput(f'Bad HTTP "Content-Type" header: "{content_type}".')
        if route.style == "download" and content_type not in (None, "", *_BYTES_TYPES):
            raise BadInput(f'Bad HTTP "Content-Type" header: "{content_type}".')
        if "Dropbox-API-Arg" not in request.headers:
            raise BadInput('Must provide HTTP header "Dropbox-API-Arg" or URL parameter "arg".')
        text = request.headers["Dropbox-API-Arg"]
        if not text.isascii():
            raise BadInput('HTTP header "Dropbox-API-Arg": could not decode input as JSON')
    try:
        return stone_serializers.json_decode(route.stone.arg_type, text, strict=True)
    except (ValidationError, ValueError) as exc:
        raise BadInput(f"request body: {exc}") from None


def result_answer(route: Route, result: Any) -> web.Response:
    encoded = stone_serializers.json_encode(route.stone.result_type, result)
    return web.Response(body=encoded.encode(), content_type="application/json")


def error_of_route(route: Route, error: Any) -> web.Response:
    return error_answer(409, json.loads(stone_serializers.json_encode(route.stone.error_type, error)))


def result_header(stone: Any, result: Any) -> str:
    # In ASCII, whatever the names of files are.
    return json.dumps(json.loads(stone_serializers.json_encode(stone.result_type, result)))


def _tags(error: dict[str, Any]) -> list[str]:
    tag = error[".tag"]
    inner = error.get(tag) or error.get("reason")
    return [tag, *(_tags(inner) if isinstance(inner, dict) and ".tag" in inner else ())]
