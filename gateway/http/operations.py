"""
The words in which the route tables list what the API offers: operations, parameters, bodies, answers, refusals.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from aiohttp import web

Schema = Mapping[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON: Final = ("application/json",)

TEXT: Final[Schema] = {"type": "string"}
BYTES: Final[Schema] = {"type": "string", "format": "binary"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
UUID: Final[Schema] = {"type": "string", "format": "uuid"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    A query parameter, a header of a request, or a header of an answer.
    """

    name: str
    meaning: str
    schema: Schema = field(default_factory=lambda: TEXT)
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """
    What a request carries; *schema* is a type, or a schema written by hand where the bytes are streamed.
    """

    media_types: Sequence[str]
    schema: type | Schema
    meaning: str
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One way in which an operation succeeds.
    """

    meaning: str
    schema: type | Schema | None = None
    media_types: Sequence[str] = JSON
    headers: Sequence[Parameter] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """
    One method at one address: where it leads, and everything a client must know to use it.

    Attributes:
        name: the operationId.
        id_of: what the ``{id}`` in the path names; *id_schema* says what it looks like.
        query: a type whose fields are the names in *parameters*, if there are any.
        refusals: the statuses of the problems it may answer with, besides those that every operation
            of its kind has.
    """

    method: str
    path: str
    handler: Handler
    name: str
    tag: str
    summary: str
    details: str = ""
    id_of: str = ""
    id_schema: Schema = field(default_factory=lambda: UUID)
    query: Sequence[Parameter] = ()
    headers: Sequence[Parameter] = ()
    body: Body | None = None
    answers: Mapping[int, Answer]
    refusals: Sequence[int] = ()
    needs_token: bool = True

    @property
    def problem_statuses(self) -> list[int]:
        """
        Every status of a problem that it may answer with.
        """
        always = (401, 500, 503) if self.needs_token else ()
        return sorted({*self.refusals, *always})


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    What one status of a problem means, and the codes that come with it.
    """

    name: str
    title: str
    meaning: str
    codes: Sequence[str]
    headers: Sequence[Parameter] = ()


_RETRY_AFTER: Final = Parameter(
    "Retry-After", "Seconds to wait before trying again.", {"type": "integer", "minimum": 0}, is_required=True
)

REFUSALS: Final[dict[int, Refusal]] = {
    400: Refusal(
        "Malformed",
        "Malformed",
        "A header, metadata key, query parameter or JSON field cannot be taken; `field` names it.",
        ("invalid-field", "length-conflict"),
    ),
    401: Refusal(
        "NotSignedIn",
        "Not signed in",
        "No token, or one that is unknown, expired or revoked.",
        ("unauthenticated", "signed-out"),
        (Parameter("WWW-Authenticate", "Always `Bearer`, with the realm.", is_required=True),),
    ),
    403: Refusal(
        "NotInvited",
        "Not invited",
        "There is no account for this, and new ones are not made here. Or it is done only just after signing in. "
        "Or the account is about to be erased, so nothing is added to it.",
        ("not-invited", "not-fresh", "leaving"),
    ),
    404: Refusal("NotFound", "Not found", "There is no such thing, or it is another user's.", ("not-found",)),
    405: Refusal(
        "MethodNotAllowed",
        "Method not allowed",
        "The method is not offered here.",
        ("method-not-allowed",),
        (Parameter("Allow", "The methods that are.", is_required=True),),
    ),
    408: Refusal(
        "BodyIdle",
        "The body stopped coming",
        "Nothing came for too long. What had come is kept, unless it carried a checksum.",
        ("body-idle",),
    ),
    409: Refusal(
        "Conflict",
        "Conflict",
        "The upload ends elsewhere than the request starts; `offset` says where. "
        "Or recordings lie only where they would be lost, or are being moved already. "
        "Or an identity is another account's, or the only one there is. "
        "Or there is an export already, or it is not ready.",
        (
            "offset-mismatch",
            "only-copies",
            "move-under-way",
            "identity-taken",
            "last-identity",
            "export-exists",
            "export-not-ready",
        ),
        (
            Parameter("Upload-Offset", "Where the upload really ends, where that is the conflict.", COUNT),
            Parameter("Retry-After", "Seconds to wait, where an export is not ready.", COUNT),
        ),
    ),
    410: Refusal(
        "Gone",
        "Gone",
        "The upload was not finished in time and has expired. Or nobody waits for this proof: it was used, or came too late. "
        "Or an export has ended, or its archive is another by now.",
        ("gone", "sign-in-gone", "export-changed"),
    ),
    422: Refusal(
        "Refused",
        "Cannot be taken",
        "The account cannot be linked as it is, or the proof of who somebody is does not hold, "
        "or an export would be too large; `detail` says why.",
        (
            "consent-denied",
            "scopes-missing",
            "other-account",
            "place-refused",
            "wrong-code",
            "cannot-be-reached",
            "identity-refused",
            "export-too-large",
        ),
    ),
    412: Refusal(
        "PreconditionFailed",
        "Precondition failed",
        "`Tus-Resumable` is missing or names another version, "
        "or the details were changed since they were as `If-Match` says.",
        ("tus-version", "edit-conflict"),
        (Parameter("Tus-Version", "The version of tus that is spoken here, where that is what failed."),),
    ),
    413: Refusal(
        "TooLong",
        "Too long",
        "More bytes than declared or allowed; `limit` says how many are. Nothing of the body is kept.",
        ("too-long",),
    ),
    415: Refusal(
        "UnsupportedMediaType",
        "Unsupported media type",
        "The body's `Content-Type` is not one that is taken here.",
        ("unsupported-media-type",),
    ),
    416: Refusal(
        "RangeNotSatisfiable",
        "Range not satisfiable",
        "The range begins behind the end.",
        ("range-not-satisfiable",),
        (Parameter("Content-Range", "The size: `bytes */` and a number.", is_required=True),),
    ),
    423: Refusal(
        "Locked",
        "Locked",
        "A newer request has taken the upload over; what this one had brought is kept. "
        "Or a legal hold keeps from being erased what should be.",
        ("superseded", "held"),
        (replace(_RETRY_AFTER, is_required=False),),
    ),
    429: Refusal(
        "TooManyUploads",
        "Too many",
        "As many unfinished uploads, or links, as the user may have: end one first. Or too many tries to sign in, "
        "or too many exports or downloads of them: wait.",
        ("too-many-uploads", "too-many-links", "too-many-tries", "too-many-exports"),
        (_RETRY_AFTER,),
    ),
    460: Refusal(
        "ChecksumMismatch",
        "Checksum mismatch",
        "The body is not what its `Upload-Checksum` says. Nothing of it is kept.",
        ("checksum-mismatch",),
    ),
    500: Refusal(
        "InternalError",
        "Internal error",
        "Something went wrong here, and has been logged; or what lies at rest is damaged.",
        ("internal", "unreadable"),
    ),
    503: Refusal(
        "Unavailable",
        "Unavailable",
        "The database, the key store, the storage or a provider does not answer right now.",
        ("database-unavailable", "keyring", "spool-failed", "provider-unavailable"),
        (_RETRY_AFTER,),
    ),
    507: Refusal(
        "OutOfRoom",
        "No room",
        "The disk is full. The upload stays as it is and can go on later.",
        ("out-of-room",),
        (_RETRY_AFTER,),
    ),
}
"""Every status that a problem may have."""
