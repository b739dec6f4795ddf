"""
A client of the API that sends exactly what a test tells it to.
"""

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multidict import CIMultiDictProxy

from gateway.base.ids import UserId
from tests.support.gateway import APPEND, TUS, Served

UPLOADS = "/v1/uploads"
RECORDINGS = "/v1/recordings"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}

_LARGE = 1024 * 1024

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """
    What came back.
    """

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """
        The JSON of the body.
        """
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def problem(self) -> dict[str, Any]:
        """
        The problem document, after checking that it is one.
        """
        assert "application/problem+json" == self.headers["Content-Type"]
        document = self.document
        assert self.status == document["status"]
        assert {"type", "title", "status", "code"} <= document.keys()
        return document

    @property
    def field(self) -> str:
        """
        The field that a 400 names.
        """
        assert 400 == self.status, self.body
        field = self.problem["field"]
        assert isinstance(field, str)
        return field

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])

    @property
    def upload_id(self) -> str:
        """
        The id in the Location.
        """
        location = self.headers["Location"]
        assert location.startswith(f"{UPLOADS}/")
        return location.removeprefix(f"{UPLOADS}/")


class Phone:
    """
    One user's client.
    """

    def __init__(self, served: Served, user_id: UserId, auth: Mapping[str, str]) -> None:
        self.served = served
        self.user_id = user_id
        self.auth = dict(auth)

    @classmethod
    async def of_new_user(cls, served: Served, name: str = "Ada") -> "Phone":
        """
        Make a user and a client of his.
        """
        user_id, auth = await served.new_user(name)
        return cls(served, user_id, auth)

    async def ask(
        self, method: str, path: str, headers: Fields | None = None, data: Any = None, **options: Any
    ) -> Answer:
        """
        Send a request with the token and *headers*, and nothing else of our own.
        """
        if isinstance(data, bytes) and len(data) > _LARGE:
            # aiohttp warns of large bodies that are handed over in one.
            data = io.BytesIO(data)
        async with self.served.http.request(
            method,
            path,
            data=data,
            headers={**self.auth, **(headers or {})},
            skip_auto_headers=["Content-Type"],
            allow_redirects=False,
            **options,
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def create(
        self, length: int | str | None, headers: Fields | None = None, data: Any = None
    ) -> Answer:
        """
        POST a new upload; with *data* its first bytes as well.
        """
        sent = dict(TUS if data is None else APPEND)
        if length is not None:
            sent["Upload-Length"] = str(length)
        return await self.ask("POST", UPLOADS, {**sent, **(headers or {})}, data)

    async def begin(self, length: int | None, headers: Fields | None = None) -> str:
        """
        Create an upload, deferred where *length* is None, and return its id.
        """
        deferred = {"Upload-Defer-Length": "1"} if length is None else {}
        answer = await self.create(length, {**deferred, **(headers or {})})
        assert 201 == answer.status, answer.body
        return answer.upload_id

    async def head(self, upload_id: str, headers: Fields | None = None) -> Answer:
        return await self.ask("HEAD", f"{UPLOADS}/{upload_id}", {**TUS, **(headers or {})})

    async def offset_of(self, upload_id: str) -> int:
        """
        Return what HEAD says.
        """
        answer = await self.head(upload_id)
        assert 200 == answer.status
        return answer.offset

    async def patch(
        self, upload_id: str, offset: int | str, data: Any = b"", headers: Fields | None = None
    ) -> Answer:
        sent = {**APPEND, "Upload-Offset": str(offset), **(headers or {})}
        return await self.ask("PATCH", f"{UPLOADS}/{upload_id}", sent, data)

    async def terminate(self, upload_id: str) -> Answer:
        return await self.ask("DELETE", f"{UPLOADS}/{upload_id}", TUS)

    async def record(self, content: bytes, **metadata: str) -> str:
        """
        Upload a whole recording and return its id.
        """
        return await self.served.upload(self.auth, content, metadata=metadata_of(**metadata) or None)

    async def audio(self, recording_id: str, headers: Fields | None = None) -> Answer:
        return await self.ask("GET", f"{RECORDINGS}/{recording_id}/audio", headers)

    async def details(self, recording_id: str) -> Answer:
        return await self.ask("GET", f"{RECORDINGS}/{recording_id}")

    async def edit(self, recording_id: str, changes: object, headers: Fields | None = None) -> Answer:
        body = changes if isinstance(changes, bytes) else json.dumps(changes).encode()
        return await self.ask(
            "PATCH", f"{RECORDINGS}/{recording_id}", {**MERGE_PATCH, **(headers or {})}, body
        )

    async def erase(self, recording_id: str) -> Answer:
        return await self.ask("DELETE", f"{RECORDINGS}/{recording_id}")

    async def page(self, **query: str) -> Answer:
        return await self.ask("GET", RECORDINGS, params=query)

    async def listed(self, **query: str) -> list[str]:
        """
        Return the ids of every page, one after the other.
        """
        found: list[str] = []
        while True:
            answer = await self.page(**query)
            assert 200 == answer.status, answer.body
            found += [recording["id"] for recording in answer.document["recordings"]]
            if answer.document["next"] is None:
                return found
            query["cursor"] = answer.document["next"]


def metadata_of(**values: str) -> str:
    """
    Write Upload-Metadata.
    """
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def checksum_of(content: bytes, algorithm: str = "sha1") -> dict[str, str]:
    """
    Return the Upload-Checksum that *content* has.
    """
    digest = base64.b64encode(hashlib.new(algorithm, content).digest()).decode()
    return {"Upload-Checksum": f"{algorithm} {digest}"}


def speech(size: int, seed: int = 0) -> bytes:
    """
    Return *size* bytes in which no 16 bytes come twice; another *seed* gives others.
    """
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size)


def blob_files(served: Served) -> list[Path]:
    """
    List what lies at home; the files in which the backend notes its own things are left out.
    """
    home = served.gateway.settings.data_dir / "blobs"
    return sorted(
        path
        for path in home.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(home).parts)
    )


def spool_files(served: Served, upload_id: str = "") -> list[Path]:
    """
    List the pieces in the spool, of one upload or of all.
    """
    spool = served.gateway.settings.data_dir / "spool"
    return sorted(path for path in spool.iterdir() if path.name.startswith(upload_id))
