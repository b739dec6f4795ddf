"""
Errors as Google's APIs word them.
"""

from typing import Any, Final

from aiohttp import web

_STATUS_NAMES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class Refused(Exception):
    """
    Ends the handling of a request with an error in Google's format.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        domain: str = "global",
        location: tuple[str, str] | None = None,
        details: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.domain = domain
        self.location = location
        self.details = details
        self.headers = headers

    def response(self) -> web.Response:
        """
        Return the error as an answer.
        """
        entry = {"message": str(self), "domain": self.domain, "reason": self.reason}
        if self.location is not None:
            entry["location"], entry["locationType"] = self.location
        error: dict[str, Any] = {"code": self.code, "message": str(self), "errors": [entry]}
        if self.code == 401 or self.details is not None:
            # The older surface of this API leaves the name of the status out elsewhere.
            error["status"] = _STATUS_NAMES[self.code]
        if self.details is not None:
            error["details"] = self.details
        return web.json_response({"error": error}, status=self.code, headers=self.headers)


def unauthenticated() -> Refused:
    """
    The access token is missing, unknown, expired or of a grant that was ended.
    """
    return Refused(
        401,
        "authError",
        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        location=("Authorization", "header"),
        headers={"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'},
    )


def scope_missing(method: str) -> Refused:
    """
    No scope of the access token covers the method.
    """
    return Refused(
        403,
        "insufficientPermissions",
        "Insufficient Permission: Request had insufficient authentication scopes.",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                "domain": "googleapis.com",
                "metadata": {"service": "drive.googleapis.com", "method": method},
            }
        ],
        headers={
            "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="insufficient_scope"'
        },
    )


def file_not_found(file_id: str) -> Refused:
    """
    There is no such file, or it is another program's.
    """
    return Refused(404, "notFound", f"File not found: {file_id}.", location=("fileId", "parameter"))


def id_taken() -> Refused:
    """
    A file has that id already, or had it.
    """
    return Refused(409, "fileIdInUse", "A file already exists with the provided ID.")


def storage_full() -> Refused:
    """
    The owner's quota is used up.
    """
    return Refused(
        403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.", domain="usageLimits"
    )


def invalid(name: str, message: str) -> Refused:
    """
    A query parameter has a value that it cannot have.
    """
    return Refused(400, "invalid", message, location=(name, "parameter"))
