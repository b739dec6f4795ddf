"""
What is offered at ``/v1/route`` and ``/v1/moves``.
"""

from functools import partial
from typing import Final

from gateway.http import places, shapes
from gateway.http.operations import JSON, Answer, Body, Operation, Parameter

TAG: Final = "Places"

_MOVE: Final = "/v1/moves/{id}"


def place_operations() -> list[Operation]:
    """
    Return the operations on where recordings go, and on moving them.
    """
    here = partial(Operation, tag=TAG)
    move = partial(here, path=_MOVE, id_of="a move", refusals=(404,))
    return [
        here(
            method="GET",
            path="/v1/route",
            handler=places.get_route,
            name="getRoute",
            summary="See where new recordings go",
            answers={200: Answer("The route in force.", shapes.RouteDocument)},
        ),
        here(
            method="PUT",
            path="/v1/route",
            handler=places.put_route,
            name="putRoute",
            summary="Choose where new recordings go",
            details="A recording always comes home first. Without `home` that copy goes as soon as the others are "
            "where they should be, and have been looked at there. What is kept already stays where it is: "
            "a move takes it elsewhere.",
            body=Body(media_types=JSON, schema=shapes.RouteDocument, meaning="The whole route."),
            answers={200: Answer("It holds from now on.", shapes.RouteDocument)},
            refusals=(400, 403, 404, 413),
        ),
        here(
            method="GET",
            path="/v1/moves",
            handler=places.list_moves,
            name="listMoves",
            summary="List moves, latest first",
            answers={200: Answer("All of them.", shapes.MoveList)},
        ),
        here(
            method="POST",
            path="/v1/moves",
            handler=places.start_move,
            name="startMove",
            summary="Move all recordings from one place to another",
            details="Each copy is removed only after the other is there. A move survives restarts of the gateway.",
            body=Body(media_types=JSON, schema=shapes.MoveRequest, meaning="From where, and to where."),
            answers={
                202: Answer(
                    "It has begun.",
                    shapes.MoveDocument,
                    headers=(Parameter("Location", "Where to follow it.", is_required=True),),
                )
            },
            refusals=(400, 403, 409, 413),
        ),
        move(
            method="GET",
            handler=places.get_move,
            name="getMove",
            summary="Follow a move",
            answers={200: Answer("How far it has come.", shapes.MoveDocument)},
        ),
        move(
            method="DELETE",
            handler=places.stop_move,
            name="stopMove",
            summary="Stop a move",
            details="What was moved stays moved.",
            answers={200: Answer("It has ended.", shapes.MoveDocument)},
        ),
    ]
