"""
What each answer of Dropbox means to the host: the answers as they come, taken apart by Dropbox's own library.
"""

import json
from datetime import timedelta
from typing import Any

import pytest
import requests
from dropbox import Dropbox, files
from dropbox.exceptions import ApiError, DropboxException
from gateway_dropbox.errors import classify, of_answer, tags_of
from stone.backends.python_rsrc import stone_serializers
from stone.backends.python_rsrc.stone_validators import ValidationError

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

UPLOAD, APPEND, FINISH = files.upload, files.upload_session_append_v2, files.upload_session_finish

JSON = "application/json"
SECRET = "pid_upload_session:secret"


def nested(tags: list[str]) -> dict[str, Any]:
    """
    The JSON of a union, as stone writes it; ``reason`` is a field and no tag.
    """
    if tags[1:2] == ["reason"]:
        return {".tag": tags[0], "reason": nested(tags[2:]), "upload_session_id": SECRET}
    return {".tag": tags[0], **({tags[0]: nested(tags[1:])} if tags[1:] else {})}


def of_route(route: Any, tags: str) -> ApiError:
    """
    What the library raises for a route's own error.
    """
    error = stone_serializers.json_compat_obj_decode(route.error_type, nested(tags.split("/")), strict=False)
    return ApiError("request-id", error, f"words for people about {SECRET}", "en")


def of_any(status: int, content_type: str, body: str, **headers: str) -> Exception:
    """
    What the library makes of any other answer.
    """
    response = requests.Response()
    response.status_code = status
    response.headers.update({"Content-Type": content_type, **headers})
    response._content = body.encode()
    try:
        Dropbox("sl.token").raise_dropbox_error_for_resp(response)
    except Exception as exc:  # noqa: BLE001 - whatever it raises
        return exc
    raise AssertionError("the library took it for an answer")


class TestErrors(ErrorTable):
    classify = staticmethod(classify)
    secrets = (SECRET, "sl.secret")
    rows = (
        Row(of_route(UPLOAD, "path/reason/conflict/file"), Conflict, "path/conflict/file"),
        Row(of_route(UPLOAD, "path/reason/conflict/folder"), Conflict, "path/conflict/folder"),
        Row(of_route(UPLOAD, "path/reason/insufficient_space"), QuotaExceeded, "path/insufficient_space"),
        Row(
            of_route(UPLOAD, "path/reason/upload_traffic_limit_reached"),
            QuotaExceeded,
            "path/upload_traffic_limit_reached",
        ),
        Row(of_route(UPLOAD, "path/reason/no_write_permission"), AccessDenied, "path/no_write_permission"),
        Row(of_route(UPLOAD, "path/reason/access_restricted"), AccessDenied, "path/access_restricted"),
        Row(of_route(UPLOAD, "path/reason/disallowed_name"), Unsupported, "path/disallowed_name"),
        Row(
            of_route(UPLOAD, "path/reason/too_many_write_operations"),
            RateLimited,
            "path/too_many_write_operations",
        ),
        Row(of_route(UPLOAD, "path/reason/made_up_since"), BackendError, "path/other"),
        Row(of_route(UPLOAD, "content_hash_mismatch"), IntegrityMismatch, "content_hash_mismatch"),
        Row(of_route(UPLOAD, "payload_too_large"), Unsupported, "payload_too_large"),
        Row(of_route(UPLOAD, "made_up_since"), BackendError, "other"),
        Row(of_route(APPEND, "not_found"), SessionLost, "not_found"),
        Row(of_route(APPEND, "closed"), SessionLost, "closed"),
        Row(of_route(APPEND, "too_large"), QuotaExceeded, "too_large"),
        Row(of_route(APPEND, "content_hash_mismatch"), IntegrityMismatch, "content_hash_mismatch"),
        Row(of_route(FINISH, "lookup_failed/not_found"), SessionLost, "lookup_failed/not_found"),
        Row(of_route(FINISH, "lookup_failed/closed"), SessionLost, "lookup_failed/closed"),
        Row(of_route(FINISH, "path/conflict/file"), Conflict, "path/conflict/file"),
        Row(of_route(FINISH, "path/insufficient_space"), QuotaExceeded, "path/insufficient_space"),
        Row(
            of_route(FINISH, "path/team_folder_insufficient_space"),
            QuotaExceeded,
            "path/team_folder_insufficient_space",
        ),
        Row(of_route(FINISH, "too_many_write_operations"), RateLimited, "too_many_write_operations"),
        Row(of_route(files.download, "path/not_found"), NotFound, "path/not_found"),
        Row(of_route(files.download, "path/not_file"), NotFound, "path/not_file"),
        Row(of_route(files.download, "path/restricted_content"), AccessDenied, "path/restricted_content"),
        Row(of_route(files.get_metadata, "path/not_found"), NotFound, "path/not_found"),
        Row(of_route(files.get_metadata, "path/locked"), Transient, "path/locked"),
        Row(of_route(files.delete_v2, "path_lookup/not_found"), NotFound, "path_lookup/not_found"),
        Row(
            of_route(files.delete_v2, "path_write/no_write_permission"),
            AccessDenied,
            "path_write/no_write_permission",
        ),
        Row(of_route(files.delete_v2, "too_many_write_operations"), RateLimited, "too_many_write_operations"),
        Row(of_route(files.list_folder_continue, "reset"), Transient, "reset"),
        Row(
            of_any(401, JSON, '{"error": {".tag": "expired_access_token"}}'),
            AuthRevoked,
            "expired_access_token",
        ),
        Row(
            of_any(401, JSON, '{"error": {".tag": "invalid_access_token"}}'),
            AuthRevoked,
            "invalid_access_token",
        ),
        Row(of_any(401, JSON, '{"error": {".tag": "user_suspended"}}'), AuthRevoked, "user_suspended"),
        Row(of_any(401, JSON, '{"error": {".tag": "other"}}'), AuthRevoked, "other"),
        Row(
            of_any(401, JSON, '{"error": {".tag": "route_access_denied"}}'),
            AccessDenied,
            "route_access_denied",
        ),
        Row(
            of_any(
                401, JSON, '{"error": {".tag": "missing_scope", "required_scope": "files.content.write"}}'
            ),
            AccessDenied,
            "missing_scope/files.content.write",
        ),
        Row(
            of_any(
                429, JSON, '{"error": {"reason": {".tag": "too_many_write_operations"}, "retry_after": 300}}'
            ),
            RateLimited,
            "too_many_write_operations",
            timedelta(seconds=300),
        ),
        Row(
            of_any(429, "text/plain", "", **{"Retry-After": "15"}), RateLimited, "429", timedelta(seconds=15)
        ),
        Row(of_any(429, "text/plain", ""), RateLimited, "429"),
        Row(
            of_any(400, "text/plain", f"files/upload_session/append:2: session_id: {SECRET}"),
            BackendError,
            "400",
        ),
        Row(of_any(416, "text/plain", ""), IntegrityMismatch, "416"),
        Row(of_any(500, "text/plain", f"{SECRET}"), Transient, "500"),
        Row(of_any(503, "text/html", "<html>"), Transient, "503"),
        # The library's own checks.
        Row(of_any(401, "text/html", "<html>"), Transient, "AssertionError"),
        Row(of_any(401, JSON, '{"weird": 1}'), Transient, "KeyError"),
        Row(of_any(429, JSON, '{"error": {"reason": "no"}}'), Transient, "ValidationError"),
        Row(KeyError("dropbox-api-result"), Transient),
        Row(json.JSONDecodeError("no", "", 0), Transient),
        Row(ValidationError("not a tag"), Transient),
        # The way to it.
        Row(requests.exceptions.ConnectionError("refused"), Transient, "ConnectionError"),
        Row(requests.exceptions.ReadTimeout(), Transient),
        Row(requests.exceptions.ChunkedEncodingError("cut"), Transient),
        Row(requests.exceptions.InvalidHeader("sl.secret"), Transient),
        Row(requests.exceptions.SSLError("self-signed"), Misconfigured),
        Row(ConnectionResetError(), Transient),
        Row(DropboxException("request-id", "sl.secret"), BackendError),
        Row(RuntimeError("never seen, with sl.secret"), BackendError),
        Row(QuotaExceeded("passes"), QuotaExceeded),
    )


def test_a_wrong_offset_is_transient() -> None:
    wrong = {".tag": "lookup_failed", "lookup_failed": {".tag": "incorrect_offset", "correct_offset": 4}}
    error = stone_serializers.json_compat_obj_decode(FINISH.error_type, wrong)
    assert Transient is type(classify(ApiError("request-id", error, None, None)))


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(302, Misconfigured), (403, AccessDenied), (404, Misconfigured), (418, BackendError)],
)
def test_an_answer_without_tags_is_told_by_its_status(status: int, meaning: type[BackendError]) -> None:
    assert meaning is type(of_answer(status, ()))


def test_tags_are_read_from_json_too() -> None:
    assert ("path", "conflict", "file") == tags_of(nested(["path", "reason", "conflict", "file"]))
    assert () == tags_of(None)
