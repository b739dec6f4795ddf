import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.support.tcp_proxy import TcpProxy, proxying


@asynccontextmanager
async def counting_server() -> AsyncIterator[tuple[TcpProxy, list[int]]]:
    """
    A server behind a proxy that says how long each body was, and notes how far each came.
    """
    came: list[int] = []

    async def count(request: web.Request) -> web.Response:
        came.append(0)
        async for data in request.content.iter_any():
            came[-1] += len(data)
        return web.json_response(came[-1])

    app = web.Application()
    app.router.add_post("/", count)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with proxying(f"http://{host}:{port}") as proxy:
            yield proxy, came
    finally:
        await runner.cleanup()


async def posted(proxy: TcpProxy, size: int) -> object:
    async with aiohttp.ClientSession() as http, http.post(proxy.url, data=bytes(size)) as response:
        return await response.json()


async def test_it_passes_on_what_it_is_given() -> None:
    async with counting_server() as (proxy, _):
        assert 100_000 == await posted(proxy, 100_000)
        assert proxy.sent > 100_000


async def test_it_cuts_once_after_so_many_bytes() -> None:
    async with counting_server() as (proxy, came):
        proxy.cut_after(50_000)
        with pytest.raises(aiohttp.ClientError):
            await posted(proxy, 100_000)
        assert (50_000, 1) == (proxy.sent, proxy.cuts)
        assert 100_000 == await posted(proxy, 100_000)
        assert came[0] < 50_000


async def test_it_loses_an_answer_to_a_request_that_was_carried_out() -> None:
    async with counting_server() as (proxy, came):
        proxy.lose_answers()
        with pytest.raises(aiohttp.ClientError):
            await posted(proxy, 100_000)
        assert [100_000] == came


async def test_it_hangs_with_the_connection_open() -> None:
    async with counting_server() as (proxy, _):
        proxy.hang_after(50_000)
        request = asyncio.create_task(posted(proxy, 100_000))
        await proxy.has_hung()
        done, _ = await asyncio.wait([request], timeout=0.1)
        assert (set(), 50_000) == (done, proxy.sent)
        proxy.flow()
        assert 100_000 == await request
