"""
What is offered at ``/v1/me`` itself, and about accounts that are gone.
"""

from functools import partial
from typing import Final

from gateway.http import me, me_shapes
from gateway.http.operations import JSON, Answer, Body, Operation, Parameter

TAG: Final = "Your account"
_ME: Final = "/v1/me"


def me_operations() -> list[Operation]:
    """
    Return the operations on one's own account.
    """
    mine = partial(Operation, tag=TAG)
    return [
        mine(
            method="GET",
            path=_ME,
            handler=me.get_me,
            name="getMe",
            summary="See what is known about you",
            answers={200: Answer("All of it.", me_shapes.MeDocument)},
        ),
        mine(
            method="PATCH",
            path=_ME,
            handler=me.edit_me,
            name="editMe",
            summary="Correct what is known about you",
            body=Body(
                media_types=("application/merge-patch+json", *JSON),
                schema=me_shapes.MeEdit,
                meaning="What is to change. A field that is not named stays; null removes it.",
            ),
            answers={200: Answer("It is corrected.", me_shapes.MeDocument)},
            refusals=(400, 404, 413, 415),
        ),
        mine(
            method="DELETE",
            path=_ME,
            handler=me.leave,
            name="leave",
            summary="Erase your account",
            details="Ordinarily after some days: you are signed out everywhere, and may sign in again and take it back until then. "
            "Meanwhile recordings can be heard and fetched, and nothing is added: uploads, links, moves and routes are refused with `leaving`. "
            "With `now` it is done at once, which wants a sign-in of a few minutes ago, or else is refused with `not-fresh`. "
            "Then every key of the account is destroyed in one round, its numbers and accounts are free, its links are ended, "
            "at the providers too where they let us do that, and its sealed files are deleted.",
            query=(
                Parameter(
                    "now",
                    "Whether it is done at once.",
                    {"type": "string", "enum": ["true", "false"], "default": "false"},
                ),
            ),
            answers={
                200: Answer("It is done; here is the receipt.", me_shapes.FarewellDocument),
                202: Answer(
                    "It will be done, or is no longer served and shredding goes on; `state` says which.",
                    me_shapes.FarewellDocument,
                ),
            },
            refusals=(400, 403, 404, 423),
        ),
        mine(
            method="POST",
            path=f"{_ME}/stay",
            handler=me.stay,
            name="stay",
            summary="Take the erasure of your account back",
            answers={200: Answer("You stay.", me_shapes.MeDocument)},
            refusals=(404,),
        ),
        mine(
            method="GET",
            path=f"{me_shapes.FAREWELLS}/{{id}}",
            handler=me.get_farewell,
            name="getFarewell",
            summary="See what became of an account that was erased",
            details="Whoever knows its id may ask: the answer names nobody, and holds no salt.",
            id_of="the account",
            needs_token=False,
            answers={200: Answer("How far it has come.", me_shapes.FarewellDocument)},
            refusals=(404, 500, 503),
        ),
    ]
