"""
What is offered at ``/v1/links``.
"""

from functools import partial
from typing import Final

from gateway.http import link_shapes, links
from gateway.http.operations import COUNT, JSON, TEXT, Answer, Body, Operation, Parameter

TAG: Final = "Links"
LINK: Final = "/v1/links/{id}"

_KIND: Final = {"type": "string", "pattern": "^[a-z0-9-]{1,32}$"}
_PAGE: Final = ("text/html",)
_FAILURES: Final = {
    400: "something is missing in the request",
    403: "the account is about to be erased",
    404: "the user or the link is gone",
    410: "the answer was used before, came too late, or was never asked for",
    422: "it was not allowed, or the account cannot be used as it is",
    429: "the user has as many links as he may have",
    500: "something went wrong here",
    503: "the provider or the database does not answer right now",
}


def link_operations() -> list[Operation]:
    """
    Return the operations on users' own storage accounts.
    """
    linking = partial(Operation, tag=TAG)
    return [
        linking(
            method="GET",
            path="/v1/links",
            handler=links.list_links,
            name="listLinks",
            summary="List linked accounts, and what can be linked",
            answers={200: Answer("All of them.", link_shapes.LinkList)},
        ),
        linking(
            method="GET",
            path=links.CALLBACK,
            handler=links.finish_link,
            name="finishLink",
            summary="Come back from a provider",
            details="Where providers send the user's browser. No program calls it; the state proves whose answer it is.",
            query=(
                Parameter("state", "What the gateway gave out."),
                Parameter("code", "What the provider gave out, if it was allowed."),
                Parameter("error", "Why it was not."),
            ),
            answers={
                200: Answer("It is linked; a page says so.", TEXT, _PAGE),
                303: Answer(
                    "It is linked; on to `return_to`, with the link's id and state in its query.",
                    headers=(Parameter("Location", "Where that is.", is_required=True),),
                ),
                **{
                    status: Answer(f"It is not linked: {why}; a page says so.", TEXT, _PAGE)
                    for status, why in _FAILURES.items()
                },
            },
            needs_token=False,
        ),
        linking(
            method="POST",
            path=LINK,
            handler=links.begin_link,
            name="beginLink",
            summary="Link an account",
            id_of="the kind of storage, such as `gdrive`: not an id, its name",
            id_schema=_KIND,
            details="Kinds that are linked by consent answer with an address for the user's browser; "
            "those that are linked by settings are tried and linked at once. "
            "The same account linked again keeps its id and what is stored there.",
            body=Body(
                media_types=JSON,
                schema=link_shapes.LinkRequest,
                meaning="May be left out.",
                is_required=False,
            ),
            answers={
                200: Answer("It is linked anew.", link_shapes.LinkDocument),
                201: Answer("It is linked.", link_shapes.LinkDocument),
                202: Answer("The user has to allow it.", link_shapes.ConsentDocument),
            },
            refusals=(400, 403, 404, 413, 415, 422, 429),
        ),
        linking(
            method="POST",
            path=f"{LINK}/check",
            handler=links.check_link,
            name="checkLink",
            summary="Try a linked account now",
            id_of="a link",
            answers={200: Answer("What it showed.", link_shapes.LinkDocument)},
            refusals=(404,),
        ),
        linking(
            method="DELETE",
            path=LINK,
            handler=links.unlink,
            name="unlink",
            summary="Unlink an account",
            id_of="a link",
            query=(
                Parameter(
                    "copies",
                    "What becomes of what is stored there: `home` moves it to the operator's storage first, "
                    "`leave` leaves the sealed files behind, `delete` deletes them.",
                    {"type": "string", "enum": list(links.FAREWELLS), "default": "home"},
                ),
            ),
            answers={
                202: Answer(
                    "It will be, once everything has been moved.",
                    headers=(
                        Parameter("Location", "The move to wait for.", is_required=True),
                        Parameter("Retry-After", "Seconds to wait before looking.", COUNT, is_required=True),
                    ),
                ),
                204: Answer("It is unlinked."),
            },
            refusals=(400, 404, 409),
        ),
    ]
