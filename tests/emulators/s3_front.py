"""
A real S3 store behind a door that can be slammed: every request goes to the store as it came, unless a fault is due.

Signatures cover the Host header, so it is passed on unchanged, and the store cannot tell that it was not asked directly.
"""

import io
from typing import Final

import aiohttp
from aiohttp import web

from tests.emulators.cloud import Account, Cloud
from tests.emulators.emulator import FAULT
from tests.emulators.faults import Effect
from tests.support.seaweedfs import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SeaweedFS

_OF_THE_HOP: Final = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class S3Front(Cloud):
    """
    One store; each account is a bucket of it.
    """

    kind = "s3"
    title = "S3"

    def __init__(self, store: SeaweedFS, *, versioned: bool = False) -> None:
        super().__init__()
        self._store = store
        self._versioned = versioned
        self._is_key_gone = False
        self._is_full = False
        self._session: aiohttp.ClientSession | None = None

    def add_routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        app.cleanup_ctx.append(self._connected)

    def new_account(self, name: str = "Ada", *, quota: int | None = None) -> Account:
        account = super().new_account(name, quota=quota)
        account.name = self._store.create_bucket(versioned=self._versioned)
        return account

    def user_settings(self, account: Account) -> dict[str, object]:
        """
        Return what a user says who links that bucket.
        """
        return {
            "endpoint": self.url,
            "bucket": account.name,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET_ACCESS_KEY,
        }

    def settings(self) -> dict[str, object]:
        return {"part_size": 5 << 20}

    def blob_keys(self, account: Account) -> list[str]:
        client = self._store.client()
        try:
            return [entry["Key"] for entry in client.list_objects_v2(Bucket=account.name).get("Contents", [])]
        finally:
            client.close()

    def blob_bytes(self, account: Account, key: str) -> bytes:
        client = self._store.client()
        try:
            body: bytes = client.get_object(Bucket=account.name, Key=key)["Body"].read()
            return body
        finally:
            client.close()

    def delete_by_hand(self, account: Account, name: str) -> None:
        client = self._store.client()
        client.delete_object(Bucket=account.name, Key=name)
        client.close()

    def damage(self, account: Account, name: str) -> None:
        content = bytearray(self.blob_bytes(account, name))
        content[0] ^= 0xFF
        client = self._store.client()
        client.put_object(Bucket=account.name, Key=name, Body=bytes(content))
        client.close()

    def forget_sessions(self, account: Account) -> None:
        """
        Lose all uploads that are under way, as a lifecycle rule would.
        """
        client = self._store.client()
        for upload in client.list_multipart_uploads(Bucket=account.name).get("Uploads", []):
            client.abort_multipart_upload(Bucket=account.name, Key=upload["Key"], UploadId=upload["UploadId"])
        client.close()

    def restore(self) -> None:
        """
        The store knows the key again.
        """
        self._is_key_gone = False

    def revoke(self) -> None:
        """
        From now on the store does not know the key any more.
        """
        self._is_key_gone = True

    def fill(self) -> None:
        """
        From now on there is no room.
        """
        self._is_full = True

    def free(self) -> None:
        self._is_full = False

    def throttled(self, retry_after_s: int) -> web.Response:
        response = _refusal(503, "SlowDown")
        response.headers["Retry-After"] = str(retry_after_s)
        return response

    def failed(self) -> web.Response:
        return _refusal(500, "InternalError")

    def token_expired(self) -> web.Response:
        return _refusal(400, "ExpiredToken")

    async def _connected(self, app: web.Application):  # type: ignore[no-untyped-def]
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            yield

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        return await self.served(_operation(request), self._forward)(request)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = bytearray()
        async for piece in self.body(request):
            body += piece
        fault = request.get(FAULT)
        if fault is not None and fault.effect in {Effect.CUT_IN_BODY, Effect.TAKE_LESS}:
            return web.Response()
        if self._is_key_gone:
            return _refusal(403, "InvalidAccessKeyId")
        if self._is_full and _operation(request) in {"put", "append", "begin"}:
            return _refusal(403, "QuotaExceeded")
        headers = [
            (name, value) for name, value in request.headers.items() if name.lower() not in _OF_THE_HOP
        ]
        assert self._session is not None
        async with self._session.request(
            request.method,
            f"{self._store.endpoint}{request.raw_path}",
            headers=headers,
            data=io.BytesIO(body) if body or request.method in {"PUT", "POST"} else None,
            allow_redirects=False,
            skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding", "Content-Type"],
        ) as answer:
            kept = [
                (name, value) for name, value in answer.headers.items() if name.lower() not in _OF_THE_HOP
            ]
            if request.method == "HEAD":
                kept.append(("Content-Length", answer.headers.get("Content-Length", "0")))
                return web.Response(status=answer.status, headers=kept)
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


def _operation(request: web.Request) -> str:
    query = request.query
    match request.method:
        case "POST":
            return "begin" if "uploads" in query else "commit" if "uploadId" in query else "delete"
        case "PUT":
            return "append" if "uploadId" in query else "put"
        case "GET":
            if "uploadId" in query:
                return "resume"
            return "list" if request.match_info["path"].count("/") == 0 or "list-type" in query else "read"
        case "HEAD":
            return "stat"
        case _:
            return "abort" if "uploadId" in query else "delete"


def _refusal(status: int, code: str) -> web.Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")
