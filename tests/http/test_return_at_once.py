"""
A phone that comes back the moment its connection broke, before the gateway can know of it.
"""

import asyncio
from urllib.parse import urlsplit

import pytest

from tests.http.wire import begun
from tests.support.gateway import TUS, Served


@pytest.mark.parametrize("sent", [1, 16_384, 100_000, 300_000, 1_000_000])
async def test_head_right_behind_a_broken_patch_counts_everything_that_was_sent(
    served: Served, sent: int
) -> None:
    _, auth = await served.new_user()
    headers = {**auth, **TUS, "Upload-Length": "2000000"}
    async with served.http.post("/v1/uploads", headers=headers) as response:
        path = response.headers["Location"]
    address = urlsplit(served.url)
    for attempt in range(1, 3):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        head = [
            f"PATCH {path} HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: {auth['Authorization']}",
            "Tus-Resumable: 1.0.0",
            "Content-Type: application/offset+octet-stream",
            f"Upload-Offset: {sent * (attempt - 1)}",
            f"Content-Length: {2_000_000 - sent * (attempt - 1)}",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + b"x" * sent)
        await writer.drain()
        await begun(served, path.rpartition("/")[2], appends=attempt)
        writer.close()
        async with served.http.head(path, headers={**auth, **TUS}) as response:
            assert str(sent * attempt) == response.headers["Upload-Offset"]
