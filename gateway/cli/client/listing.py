"""
A user's recordings, page after page.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from gateway.cli.client.connection import Connection, connected

RecordingDocument = Mapping[str, Any]
"""A recording as the server describes it; `gateway.http.shapes` has the fields."""


async def list_recordings(
    server: str, token: str, wanted: Mapping[str, str], *, limit: int | None
) -> list[RecordingDocument]:
    """
    Return the recordings that are *wanted*, newest first, at most *limit* of them.
    """
    found: list[RecordingDocument] = []
    async with connected(server, token) as connection:
        async for recording in each_recording(connection, wanted):
            found.append(recording)
            if len(found) == limit:
                break
    return found


async def each_recording(
    connection: Connection, wanted: Mapping[str, str]
) -> AsyncIterator[RecordingDocument]:
    """
    Give every recording that is *wanted*, through as many pages as it takes.
    """
    cursor: str | None = None
    while True:
        query = dict(wanted) if cursor is None else {**wanted, "cursor": cursor}
        page = await connection.ask("GET", "/v1/recordings", query=query)
        for recording in page["recordings"]:
            yield recording
        cursor = page["next"]
        if cursor is None:
            return
