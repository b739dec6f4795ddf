"""
Graph's refusals, and where in a drive a request's path leads.
"""

import re
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from tests.emulators.onedrive.drives import written_time
from tests.emulators.onedrive.schema import checked


class Refused(Exception):
    """
    A request that Graph answers with an error.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        inner: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}


def refusal(refused: Refused, now: float, *, inner_key: str = "innerError") -> web.Response:
    """
    Return the answer; *inner_key* is how its details are spelt, which is not the same in all of Graph.
    """
    details: dict[str, Any] = {
        "date": written_time(now).removesuffix("Z"),
        "request-id": str(uuid.uuid4()),
        "client-request-id": str(uuid.uuid4()),
    }
    if refused.inner is not None:
        details["code"] = refused.inner
    document = {"error": {"code": refused.code, "message": refused.message, inner_key: details}}
    return web.json_response(checked("error", document), status=refused.status, headers=dict(refused.headers))


NOT_FOUND: Final = Refused(404, "itemNotFound", "The resource could not be found.")
TAKEN: Final = Refused(
    409, "nameAlreadyExists", "An item with the same name already exists under the parent."
)
DENIED: Final = Refused(403, "accessDenied", "Access denied")
FULL: Final = Refused(507, "quotaLimitReached", "Insufficient Space Available", inner="insufficientStorage")

_ADDRESS: Final = re.compile(
    r"(?:me/drive|drives/(?P<drive>[^/:]+))"
    r"(?:/(?:(?P<root>root)|special/(?P<special>[^/:]+)|items/(?P<item>[^/:]+)))?"
    r"(?::/(?P<path>[^:]+))?(?P<colon>:)?"
    r"(?:/(?P<action>[A-Za-z]+))?"
)
_BAD_NAME: Final = re.compile(r'["*:<>?/\\|]|^[~ ]|[. ]$')


@dataclass(frozen=True)
class Address:
    """
    What a path below ``/v1.0/`` names.
    """

    drive: str | None
    """None: the caller's own."""

    base: str | None
    """``root``, ``approot``, an item's id, or None for the drive itself."""

    is_item: bool
    path: tuple[str, ...]
    action: str | None


def address(raw_path: str) -> Address | None:
    """
    Return what *raw_path*, still percent-encoded, names; None if nothing.
    """
    found = _ADDRESS.fullmatch(raw_path.rstrip("/"))
    if found is None or (found["path"] and found["action"] and not found["colon"]):
        return None
    base = found["root"] or found["special"] or found["item"]
    unquoted = None if base is None else urllib.parse.unquote(base)
    if found["special"] is not None and unquoted != "approot":
        return None
    path = tuple(urllib.parse.unquote(part) for part in (found["path"] or "").split("/") if part)
    drive = None if found["drive"] is None else urllib.parse.unquote(found["drive"])
    return Address(drive, unquoted, found["item"] is not None, path, found["action"])


def require_name(name: str) -> str:
    """
    Return *name*, if OneDrive takes it.
    """
    if _BAD_NAME.search(name) or len(name) > 400:
        raise Refused(400, "invalidRequest", "The name in the provided file or folder is not valid.")
    return name
