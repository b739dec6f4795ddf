"""
How an error looks on the wire: one table from domain error to RFC 9457 problem.
"""

from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from gateway.base.errors import GatewayError
from gateway.database import DatabaseUnavailable
from gateway.keyring.errors import KeyringError
from gateway.services import errors
from gateway.services.export_reading import EntryUnreadable
from gateway.services.holders import BodyIdle
from gateway.spool import SpoolFailed

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
_TYPE_PREFIX: Final = "urn:recording-gateway:problem:"

_STATUS: Final[dict[type[Exception], tuple[int, str]]] = {
    errors.ForeignForm: (403, "Another page's form"),
    errors.NoRole: (403, "Not allowed"),
    errors.Unauthenticated: (401, "Not signed in"),
    errors.NotInvited: (403, "Not invited"),
    errors.NotFresh: (403, "Sign in anew"),
    errors.Leaving: (403, "About to be erased"),
    errors.SignInGone: (410, "Not waited for"),
    errors.WrongCode: (422, "Wrong code"),
    errors.CannotBeReached: (422, "Cannot be reached"),
    errors.IdentityRefused: (422, "Not proved"),
    errors.IdentityTaken: (409, "Another account's"),
    errors.LastIdentity: (409, "The only way to sign in"),
    errors.TooManyTries: (429, "Too many tries"),
    errors.NotFound: (404, "Not found"),
    errors.Gone: (410, "Gone"),
    errors.InvalidField: (400, "Malformed"),
    errors.LengthConflict: (400, "Another length was declared before"),
    errors.OffsetMismatch: (409, "Wrong upload offset"),
    errors.EditConflict: (412, "Changed meanwhile"),
    errors.LinkAttemptGone: (410, "Not waited for"),
    errors.ConsentDenied: (422, "Not allowed"),
    errors.ScopesMissing: (422, "Not all was allowed"),
    errors.OtherAccount: (422, "Another account"),
    errors.PlaceRefused: (422, "Cannot be linked"),
    errors.TooManyLinks: (429, "Too many links"),
    errors.ProviderUnavailable: (503, "The provider does not answer"),
    errors.OnlyCopies: (409, "Recordings would be lost"),
    errors.MoveUnderWay: (409, "A move is under way"),
    errors.ExportExists: (409, "An export exists"),
    errors.ExportNotReady: (409, "Not ready"),
    errors.ExportTooLarge: (422, "Too large to export"),
    errors.ExportChanged: (410, "Changed meanwhile"),
    errors.TooManyExports: (429, "Too many exports"),
    errors.Held: (423, "Held"),
    errors.Superseded: (423, "Taken over by another request"),
    errors.ChecksumMismatch: (460, "Checksum mismatch"),
    errors.TooLong: (413, "Too long"),
    errors.TooManyUploads: (429, "Too many unfinished uploads"),
    errors.OutOfRoom: (507, "No room"),
    EntryUnreadable: (503, "A storage does not answer"),
    errors.Unreadable: (500, "Unreadable"),
    BodyIdle: (408, "The body stopped coming"),
    SpoolFailed: (503, "Storage failed"),
    KeyringError: (503, "The key store failed"),
    DatabaseUnavailable: (503, "The database failed"),
}

_IS_WORTH_RETRYING: Final = frozenset({408, 409, 423, 429, 460, 500, 503, 507})
"""Statuses after which the same work may succeed later; after the others it won't without a change."""

_FINAL: Final = frozenset(
    {"held", "only-copies", "too-many-links", "identity-taken", "last-identity", "export-exists"}
)
"""Codes that no second try changes, whatever their status."""

_RETRY_AFTER_S: Final = {423: 1, 429: 60, 503: 5, 507: 60}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    An error as JSON, RFC 9457.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    code: str
    """Stable; what a program switches on."""
    retry: bool = False
    """Whether the same work may succeed later. Without it, don't try again."""
    field: str | None = None
    """What was malformed: a header, metadata key, query parameter or JSON field."""
    limit: int | None = None
    """The limit that was passed, in bytes."""
    offset: int | None = None
    """Where the upload really ends."""
    tries_left: int | None = None
    """How many more codes may be named."""


def problem(
    status: int,
    code: str,
    title: str,
    detail: str = "",
    *,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> web.Response:
    """
    Return a problem document as a response.
    """
    retry = status in _IS_WORTH_RETRYING and code not in _FINAL
    document = Problem(
        type=_TYPE_PREFIX + code,
        title=title,
        status=status,
        detail=detail,
        code=code,
        retry=retry,
        **members,
    )
    all_headers = dict(headers or {})
    if status in _RETRY_AFTER_S and code != "held":
        all_headers.setdefault("Retry-After", str(_RETRY_AFTER_S[status]))
    return web.Response(
        status=status, body=msgspec.json.encode(document), content_type=MEDIA_TYPE, headers=all_headers
    )


def status_of(error: Exception) -> int:
    """
    Return the status that *error* becomes; 500 for one that is in no table.
    """
    return next((_STATUS[kind][0] for kind in type(error).__mro__ if kind in _STATUS), 500)


def problem_of(error: Exception) -> web.Response:
    """
    Return the response that *error* becomes; one that is in no table is our fault and says nothing of itself.
    """
    for kind in type(error).__mro__:
        if kind in _STATUS:
            status, title = _STATUS[kind]
            break
    else:
        log.error("request.failed", exc_info=error)
        return problem(500, "internal", "Internal error", "something went wrong here; it has been logged")
    if status >= 500:
        log.error("request.refused", status=status, error=str(error), exc_info=error)
    headers: dict[str, str] = {}
    members: dict[str, Any] = {}
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="recording-gateway"'
    elif isinstance(error, errors.OffsetMismatch):
        headers["Upload-Offset"] = str(error.offset)
        members["offset"] = error.offset
    elif isinstance(error, errors.TooLong):
        members["limit"] = error.limit
    elif isinstance(error, errors.InvalidField):
        members["field"] = error.field
    elif isinstance(error, errors.TooManyTries | errors.TooManyExports | errors.ExportNotReady):
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, errors.WrongCode):
        members["tries_left"] = error.tries_left
    code = error.code if isinstance(error, GatewayError) else "body-idle"
    return problem(status, code, title, str(error), headers=headers, **members)
