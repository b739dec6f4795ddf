"""
What every request goes through: errors become problems, answers are counted and logged.
"""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.base.clock import Clock
from gateway.http import tus
from gateway.http.bodies import leave_body
from gateway.http.context import context_of
from gateway.http.problems import problem, problem_of
from gateway.http.uploads import COLLECTION
from gateway.services.bodies import BodyCut

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_middleware(clock: Clock) -> Middleware:
    """
    Return the one middleware.
    """

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = clock.monotonic()
        route = request.match_info.route.resource
        name = "unknown" if route is None else route.canonical
        status = "aborted"
        try:
            response = await _answer(request, handler)
            status = str(response.status)
        except (BodyCut, ConnectionError):
            response = _answer_to_nobody(request)
        finally:
            seconds = clock.monotonic() - started
            metrics = context_of(request).metrics
            metrics.requests.labels(request.method, name, status).inc()
            metrics.duration.labels(request.method, name).observe(seconds)
            log.info("request", method=request.method, route=name, status=status, seconds=round(seconds, 4))
        return response

    return serve


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except (BodyCut, ConnectionError):
        raise
    except web.HTTPMethodNotAllowed as error:
        response = problem(
            405,
            "method-not-allowed",
            "Method not allowed",
            f"{request.method} is not offered here",
            headers={"Allow": ", ".join(sorted(error.allowed_methods))},
        )
    except web.HTTPNotFound:
        response = problem(404, "not-found", "Not found", "there is nothing at this address")
    except web.HTTPException as error:
        response = problem(error.status, "http", error.reason)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem and the log gets it all
        response = problem_of(error)
    leave_body(request, response)
    if request.path.startswith(COLLECTION) and not response.prepared:
        response.headers.setdefault("Tus-Resumable", tus.VERSION)
    if not response.prepared:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _answer_to_nobody(request: web.Request) -> web.StreamResponse:
    """
    End the connection of a request whose sender is gone, or may get no answer, and return what aiohttp will fail to send.

    Phones lose connections all day: passed on, the exception would be logged with a traceback each time.
    """
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=400)
