"""
What aiohttp can do without us: ``python -m bench.plain_servers sink|file FOLDER`` serves on a free port, and prints it.

``sink`` answers tus creations with their bytes and drops these, and sends a file of zeros that it does not have.
``file`` writes each PUT to a file and makes it durable before it answers.
"""

import asyncio
import itertools
import os
import sys
from pathlib import Path

import uvloop
from aiohttp import web

_READ_BUFFER = 128 * 1024
_ZEROS = bytes(1024 * 1024)


async def drop(request: web.Request) -> web.Response:
    """
    Take an upload and keep nothing.
    """
    size = 0
    while data := await request.content.readany():
        size += len(data)
    headers = {"Location": "/sink/0", "Tus-Resumable": "1.0.0", "Upload-Offset": str(size)}
    return web.Response(status=201, headers=headers)


async def send_zeros(request: web.Request) -> web.StreamResponse:
    """
    Send as many zeros as the path or the range says.
    """
    asked = request.http_range
    if asked.start is not None and asked.stop is not None:
        length = asked.stop - asked.start
        return web.Response(status=206, body=memoryview(_ZEROS)[:length])
    length = int(request.match_info["size"])
    response = web.StreamResponse(headers={"Content-Length": str(length)})
    await response.prepare(request)
    while length > 0:
        await response.write(_ZEROS[:length])
        length -= len(_ZEROS)
    await response.write_eof()
    return response


class Files:
    """
    Keeps each PUT as a file in *folder*.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    async def put(self, request: web.Request) -> web.Response:
        """
        Write what comes; what is answered is durable.
        """
        loop = asyncio.get_running_loop()
        path = self._folder / f"file-{next(self._numbers)}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            while data := await request.content.readany():
                os.write(fd, data)
            await loop.run_in_executor(None, os.fsync, fd)
        finally:
            os.close(fd)
        return web.Response(status=201)


async def serve(kind: str, folder: Path) -> None:
    """
    Serve until killed.
    """
    app = web.Application(client_max_size=2**50)
    if kind == "sink":
        app.router.add_post("/sink", drop)
        app.router.add_get("/zeros/{size}", send_zeros)
    else:
        app.router.add_put("/{name}", Files(folder).put)
    runner = web.AppRunner(app, access_log=None, read_bufsize=_READ_BUFFER)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], Path(sys.argv[2])))
