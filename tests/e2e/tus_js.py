"""
tus-js-client, as a process whose doings a test can follow.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DRIVER: Final = Path(__file__).parents[1] / "clients" / "js" / "upload.mjs"

Event = dict[str, Any]


@dataclass(frozen=True)
class File:
    """
    What is to be uploaded; as a stream, its length is not known to the client before its end.
    """

    path: Path
    metadata: Mapping[str, str]
    is_stream: bool = False
    upload_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "metadata": dict(self.metadata),
            "asStream": self.is_stream,
            "uploadUrl": self.upload_url,
        }


class TusJs:
    """
    One run of the client; `events` is what it has told so far.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[Event] = []

    async def event(self, name: str, **members: object) -> Event:
        """
        Return the next event of that name, with these members.

        Raises:
            AssertionError: the client failed, or ended, before.
        """
        while True:
            event = await self._next()
            assert event is not None, f"the client ended without {name}: {self.events[-5:]}"
            if event["event"] == name and members.items() <= event.items():
                return event
            assert event["event"] != "failed", event

    async def rest(self) -> list[Event]:
        """
        Follow the client to its end and return what it told last.
        """
        rest = []
        while (event := await self._next()) is not None:
            rest.append(event)
        assert 0 == await self._process.wait()
        return rest

    def sign_in(self, token: str) -> None:
        """
        Give the client another token.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{token}\n".encode())

    def requests(self, method: str) -> list[Event]:
        """
        Return the requests of *method* so far.
        """
        return [event for event in self.events if event["event"] == "request" and event["method"] == method]

    async def _next(self) -> Event | None:
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            line = await self._process.stdout.readline()
        if not line:
            return None
        self.events.append(json.loads(line))
        return self.events[-1]


@asynccontextmanager
async def tus_js(
    url: str,
    auth: Mapping[str, str],
    files: Sequence[File],
    *,
    storage: Path | None = None,
    abort_at: int | None = None,
    terminate: bool = False,
    **options: object,
) -> AsyncIterator[TusJs]:
    """
    Run tus-js-client on *files*, all at once; *options* are those of its ``Upload``.
    """
    node = shutil.which("node")
    assert node is not None
    job: dict[str, Any] = {
        "endpoint": f"{url}/v1/uploads",
        "token": auth["Authorization"].removeprefix("Bearer "),
        "files": [file.to_json() for file in files],
        "options": options,
        "terminate": terminate,
    }
    if storage is not None:
        job["storage"] = str(storage)
    if abort_at is not None:
        job["abortAt"] = abort_at
    process = await asyncio.create_subprocess_exec(
        node, DRIVER, json.dumps(job), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield TusJs(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
