"""
What is offered at which address: the tables that both the routes and the OpenAPI document are made of.
"""

import asyncio
from functools import cached_property, partial
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.http import (
    auth_routes,
    export_routes,
    health,
    insight_routes,
    link_routes,
    me_routes,
    notice_routes,
    place_routes,
    recording_routes,
    shapes,
    upload_routes,
    uploads,
)
from gateway.http.context import CONTEXT
from gateway.http.openapi import api_document
from gateway.http.operations import Answer, Operation
from gateway.settings import Settings

_MACHINES: Final = "For machines"
TAGS: Final = {
    auth_routes.TAG: (
        "How people and their devices come to have tokens, and lose them. An app has a short-lived access token and a "
        "refresh token, which counts once."
    ),
    me_routes.TAG: "What is known about you, and how you leave.",
    upload_routes.TAG: (
        "How a recording comes in: tus 1.0.0, which any tus client speaks. "
        "An offset is answered only once its bytes are durable, so an upload that was cut goes on from there. "
        "The upload's id becomes the recording's."
    ),
    recording_routes.TAG: "What is kept: listed, heard by range, described, and erased.",
    recording_routes.RECEIPTS_TAG: (
        "The proof of an erasure. `gateway receipt verify` checks one without asking this gateway."
    ),
    link_routes.TAG: "Users' own accounts at storage providers, in which their sealed recordings can lie.",
    notice_routes.TAG: "What users are told, what mail they want, and the operator's policy.",
    place_routes.TAG: "Where recordings are kept: at home, in one's own clouds, or both.",
    export_routes.TAG: "A copy of everything for its owner to take away.",
    insight_routes.TAG: "What people who run this service did that concerns you, and what of yours went to others.",
    _MACHINES: "For probes, monitoring and generators of clients. They need no token.",
}
"""The groups of operations, in the order in which they are read."""


class Description:
    """
    The OpenAPI document of *operations*.

    Writing it reads sources, a tenth of a second: it is done when somebody asks, in a thread.
    """

    def __init__(self, operations: list[Operation]) -> None:
        self._operations = operations

    async def document(self) -> dict[str, Any]:
        """
        Return the document.
        """
        return await asyncio.to_thread(lambda: self._written)

    @cached_property
    def _written(self) -> dict[str, Any]:
        return api_document(self._operations, tags=TAGS)


DESCRIPTION: Final = web.AppKey("description", Description)
"""Where an application keeps its own description."""


def add_routes(app: web.Application) -> None:
    """
    Add every address of the API.
    """
    listed = list_operations(app[CONTEXT].settings)
    for operation in listed:
        app.router.add_route(
            operation.method,
            operation.path,
            operation.handler,
            expect_handler=uploads.hold_back if operation.tag == upload_routes.TAG else None,
        )
    app[DESCRIPTION] = Description(listed)


async def get_openapi(request: web.Request) -> web.Response:
    """
    Give this API's description to programs.
    """
    document = await request.app[DESCRIPTION].document()
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")


def list_operations(settings: Settings) -> list[Operation]:
    """
    Return everything that the API offers, with the limits that the operator set.
    """
    return [
        *auth_routes.auth_operations(),
        *me_routes.me_operations(),
        *upload_routes.upload_operations(settings),
        *recording_routes.recording_operations(settings),
        *recording_routes.receipt_operations(),
        *link_routes.link_operations(),
        *place_routes.place_operations(),
        *notice_routes.notice_operations(),
        *export_routes.export_operations(),
        *insight_routes.insight_operations(),
        *_machine_operations(),
    ]


def _machine_operations() -> list[Operation]:
    machine = partial(Operation, method="GET", tag=_MACHINES, needs_token=False)
    return [
        machine(
            path="/v1/openapi.json",
            handler=get_openapi,
            name="getOpenapi",
            summary="Get this description as an OpenAPI 3.1 document",
            answers={200: Answer("The document.", {"type": "object"})},
        ),
        machine(
            path="/healthz",
            handler=health.healthz,
            name="isAlive",
            summary="Ask whether the process lives",
            answers={200: Answer("It does.", shapes.Health)},
        ),
        machine(
            path="/readyz",
            handler=health.readyz,
            name="isReady",
            summary="Ask whether requests can be served",
            answers={
                200: Answer("They can.", shapes.Health),
                503: Answer("They cannot; `problems` says why.", shapes.Health),
            },
        ),
        machine(
            path="/metrics",
            handler=health.metrics,
            name="getMetrics",
            summary="Get all counters",
            answers={
                200: Answer("In Prometheus' text format.", {"type": "string"}, ("text/plain",)),
            },
            refusals=(500, 503),
        ),
    ]
