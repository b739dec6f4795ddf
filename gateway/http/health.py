"""
``/healthz``, ``/readyz`` and ``/metrics``: for machines.
"""

import msgspec
import structlog
from aiohttp import web

from gateway import __version__
from gateway.base.errors import GatewayError
from gateway.base.ids import UserId
from gateway.catalog.jobs import count_jobs
from gateway.catalog.users import get_user
from gateway.http.context import Context, context_of
from gateway.http.shapes import Health

log = structlog.get_logger()


async def healthz(request: web.Request) -> web.Response:
    """
    Say that the process lives.
    """
    return _health(200, Health(status="alive", version=__version__))


async def readyz(request: web.Request) -> web.Response:
    """
    Say whether requests can be served, by the calls that serving them makes.
    """
    problems = await check(context_of(request))
    if problems:
        return _health(503, Health(status="not ready", version=__version__, problems=problems))
    return _health(200, Health(status="ready", version=__version__))


async def check(context: Context) -> list[str]:
    """
    Return what keeps the daemon from its work, in words.
    """
    problems = []
    try:
        async with context.catalog.read() as connection:
            await get_user(connection, UserId(""))
    except Exception as error:
        log.error("health.catalog", exc_info=error)
        problems.append("the catalog does not answer")
    try:
        await context.keyring.public_keys()
    except GatewayError as error:
        problems.append(str(error))
    except Exception as error:
        log.error("health.keyring", exc_info=error)
        problems.append("the key database does not answer")
    return problems


async def metrics(request: web.Request) -> web.Response:
    """
    Give all counters.
    """
    context = context_of(request)
    async with context.catalog.read() as connection:
        counts = await count_jobs(connection)
    context.metrics.jobs.clear()
    for (kind, state), count in counts.items():
        context.metrics.jobs.labels(kind, state).set(count)
    return web.Response(body=context.metrics.render(), content_type="text/plain", charset="utf-8")


def _health(status: int, document: Health) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(document), content_type="application/json")
