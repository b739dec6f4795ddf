"""
What each answer of Drive means to the host.
"""

import http.client
import json
import ssl
from datetime import timedelta
from typing import Any

import aiohttp
import httplib2
import pytest
from gateway_gdrive.errors import classify, classify_in_session
from googleapiclient.errors import HttpError

from gateway.api import (
    AccessDenied,
    AuthRevoked,
    BackendError,
    Conflict,
    IntegrityMismatch,
    Misconfigured,
    NotFound,
    QuotaExceeded,
    RateLimited,
    SessionLost,
    Transient,
    Unsupported,
)
from gateway.testing.errors import ErrorTable, Row

TOKEN = "ya29.secret"
UPLOAD = "https://www.googleapis.com/upload/drive/v3/files?uploadType=resumable&upload_id=AFsecret"


def told(status: int, body: bytes, **headers: str) -> HttpError:
    return HttpError(httplib2.Response({"status": status, **headers}), body, uri=UPLOAD)


def answer(status: int, reason: str, **headers: str) -> HttpError:
    # The prose says other things on purpose: it decides nothing.
    entry = {"domain": "global", "reason": reason, "message": "notFound rateLimitExceeded"}
    error = {"code": status, "message": "notFound rateLimitExceeded", "errors": [entry]}
    return told(status, json.dumps({"error": error}).encode(), **headers)


def newer_answer(status: int, name: str, reason: str) -> HttpError:
    error: dict[str, Any] = {
        "code": status,
        "message": "Request had insufficient authentication scopes.",
        "status": name,
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}],
    }
    return told(status, json.dumps({"error": error}).encode())


class TestErrors(ErrorTable):
    classify = staticmethod(classify)
    secrets = (TOKEN, "AFsecret", "upload_id")
    rows = (
        Row(answer(401, "authError"), AuthRevoked, code="authError"),
        Row(told(401, b""), AuthRevoked, code="401"),
        Row(answer(403, "userRateLimitExceeded"), RateLimited, code="userRateLimitExceeded"),
        Row(answer(403, "rateLimitExceeded"), RateLimited),
        Row(answer(403, "sharingRateLimitExceeded"), RateLimited),
        Row(
            answer(429, "rateLimitExceeded", **{"retry-after": "17"}),
            RateLimited,
            retry_after=timedelta(seconds=17),
        ),
        Row(answer(429, "somethingNew"), RateLimited),
        Row(told(429, b"<html>", **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), RateLimited),
        Row(answer(403, "dailyLimitExceeded"), RateLimited, retry_after=timedelta(hours=1)),
        Row(answer(403, "quotaExceeded"), RateLimited, retry_after=timedelta(hours=1)),
        Row(answer(403, "downloadQuotaExceeded"), RateLimited, retry_after=timedelta(hours=1)),
        Row(answer(403, "storageQuotaExceeded"), QuotaExceeded, code="storageQuotaExceeded"),
        Row(answer(403, "numChildrenInNonRootLimitExceeded"), QuotaExceeded),
        Row(answer(403, "activeItemCreationLimitExceeded"), QuotaExceeded),
        Row(answer(413, "uploadTooLarge"), QuotaExceeded),
        Row(answer(403, "insufficientPermissions"), AccessDenied, code="insufficientPermissions"),
        Row(newer_answer(403, "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), AccessDenied),
        Row(answer(403, "appNotAuthorizedToFile"), AccessDenied),
        Row(answer(403, "insufficientFilePermissions"), AccessDenied),
        Row(answer(403, "domainPolicy"), AccessDenied),
        Row(answer(403, "cannotDownloadAbusiveFile"), AccessDenied),
        Row(answer(403, "somethingNew"), AccessDenied, code="somethingNew"),
        Row(answer(403, "accessNotConfigured"), Misconfigured),
        Row(newer_answer(403, "PERMISSION_DENIED", "SERVICE_DISABLED"), Misconfigured),
        Row(told(302, b"", location=UPLOAD), Misconfigured),
        Row(answer(404, "notFound"), NotFound),
        Row(told(404, b"Not Found"), NotFound, code="404"),
        Row(answer(409, "fileIdInUse"), Conflict),
        Row(answer(409, "somethingNew"), Conflict),
        Row(answer(416, "requestedRangeNotSatisfiable"), IntegrityMismatch),
        Row(answer(500, "internalError"), Transient),
        Row(answer(503, "backendError"), Transient),
        Row(told(502, b"<html>Bad Gateway</html>"), Transient, code="502"),
        Row(answer(501, "notImplemented"), Unsupported),
        Row(answer(400, "badRequest"), BackendError, code="badRequest"),
        Row(told(400, b'{"error": "invalid_request"}'), BackendError, code="400"),
        Row(told(400, b'["odd"]'), BackendError, code="400"),
        Row(TimeoutError("timed out"), Transient, code="TimeoutError"),
        Row(ConnectionResetError(104, "reset"), Transient, code="ConnectionResetError"),
        Row(http.client.IncompleteRead(b"12"), Transient, code="IncompleteRead"),
        Row(httplib2.ServerNotFoundError(f"no server at {UPLOAD}"), Transient),
        Row(aiohttp.ServerDisconnectedError(), Transient),
        Row(ssl.SSLCertVerificationError("certificate verify failed"), Misconfigured),
        Row(ssl.SSLEOFError("eof"), Transient),
        Row(ValueError("a bug"), None),
    )


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_a_lost_session_where_an_upload_was_asked_for(status: int) -> None:
    assert type(classify_in_session(told(status, b"Not Found"))) is SessionLost


@pytest.mark.parametrize("row", TestErrors.rows)
def test_everything_else_means_the_same_in_a_session(row: Row) -> None:
    if row.means is not NotFound:
        error = classify_in_session(row.payload)
        assert row.means is (None if error is None else type(error))
