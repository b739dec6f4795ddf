"""
What is offered at ``/v1/auth``, and of ``/v1/me`` what has to do with signing in.
"""

from functools import partial
from typing import Final

from gateway.http import auth, auth_shapes
from gateway.http.operations import JSON, TEXT, Answer, Body, Operation, Parameter

TAG: Final = "Signing in"
WAY: Final = "/v1/auth/{id}"
_WAY_NAME: Final = {"type": "string", "pattern": "^[a-z0-9-]{1,32}$"}
_DEVICE: Final = Parameter(
    "X-Device-Id",
    "A random id that the app keeps; limits go by it too, so others on one address are not held up by it.",
)
_FAILURES: Final = {
    400: "something is missing in the request",
    403: "there is no account, and none is made",
    404: "this provider is not offered here",
    409: "it is another account's way to sign in",
    410: "the answer was used before, came too late, was never asked for, or was asked for by another browser",
    422: "it was not allowed, or the proof is none",
    500: "something went wrong here",
    503: "the provider or the database does not answer right now",
}


def auth_operations() -> list[Operation]:
    """
    Return the operations with which people sign in and out.
    """
    signing_in = partial(Operation, tag=TAG)
    opening = partial(Operation, tag=TAG, needs_token=False)
    by_way = partial(
        opening, id_of="the way of signing in, such as `phone`: not an id, its name", id_schema=_WAY_NAME
    )
    return [
        opening(
            method="GET",
            path="/v1/auth",
            handler=auth.list_ways,
            name="listWays",
            summary="List the ways of signing in",
            answers={200: Answer("All of them.", auth_shapes.WayList)},
            refusals=(500, 503),
        ),
        by_way(
            method="POST",
            path=f"{WAY}/codes",
            handler=auth.send_code,
            name="sendCode",
            summary="Have a code sent to a number",
            details="The answer is the same whether or not there is an account. Too many are refused, by number, address and device.",
            headers=(_DEVICE,),
            body=Body(media_types=JSON, schema=auth_shapes.CodeRequest, meaning="The number."),
            answers={202: Answer("It is on its way.", auth_shapes.CodeDocument)},
            refusals=(400, 404, 413, 422, 429, 500, 503),
        ),
        by_way(
            method="POST",
            path=f"{WAY}/consents",
            handler=auth.begin_consent,
            name="beginConsent",
            summary="Begin to sign an app in at a provider",
            details="For apps, after RFC 8252: the system's browser goes to `authorize_url`, and comes back to `return_to` with a code "
            "that the app redeems for tokens with its code verifier.",
            body=Body(media_types=JSON, schema=auth_shapes.ConsentRequest, meaning="Where to come back to."),
            answers={201: Answer("Where to go.", auth_shapes.SignInConsentDocument)},
            refusals=(400, 404, 413, 500, 503),
        ),
        by_way(
            method="GET",
            path=auth.CALLBACK,
            handler=auth.come_back,
            name="comeBack",
            summary="Come back from a provider",
            details="Where providers send the browser. No program calls it; the state proves whose answer it is.",
            query=(
                Parameter("state", "What the gateway gave out."),
                Parameter("code", "What the provider gave out, if it was allowed."),
                Parameter("error", "Why it was not."),
                Parameter("iss", "Which provider it is (RFC 9207)."),
            ),
            answers={
                303: Answer(
                    "Signed in, added to the account, or on to the app with a `code` or an `error`.",
                    headers=(Parameter("Location", "Where that is.", is_required=True),),
                ),
                **{
                    status: Answer(
                        f"Not signed in, or not added: {why}; a page says so.", TEXT, ("text/html",)
                    )
                    for status, why in _FAILURES.items()
                },
            },
        ),
        opening(
            method="POST",
            path="/v1/auth/token",
            handler=auth.give_tokens,
            name="giveTokens",
            summary="Get tokens",
            details="For a phone's code, for a provider's code, or for a refresh token. A refresh token counts once; whoever brings one "
            "that was used signs the device out, except that an answer that was lost may be asked for again within a minute.",
            body=Body(media_types=JSON, schema=auth_shapes.TokenRequest, meaning="What is shown for them."),
            answers={200: Answer("The tokens.", auth_shapes.TokenDocument)},
            refusals=(400, 401, 403, 404, 410, 413, 422, 429, 500, 503),
        ),
        signing_in(
            method="POST",
            path="/v1/auth/sign-out",
            handler=auth.sign_out,
            name="signOut",
            summary="Sign this device out",
            answers={204: Answer("Its tokens count no more.")},
        ),
        signing_in(
            method="GET",
            path="/v1/me/identities",
            handler=auth.list_identities,
            name="listIdentities",
            summary="List how you sign in",
            answers={200: Answer("All of them.", auth_shapes.IdentityList)},
        ),
        signing_in(
            method="POST",
            path="/v1/me/identities",
            handler=auth.join_identity,
            name="joinIdentity",
            summary="Add a way to sign in",
            details="Proved as for tokens, so that one person may sign in by several.",
            body=Body(media_types=JSON, schema=auth_shapes.JoinRequest, meaning="The proof."),
            answers={201: Answer("It is added, or was there.", auth_shapes.IdentityDocument)},
            refusals=(400, 404, 409, 410, 413, 422, 429),
        ),
        signing_in(
            method="DELETE",
            path="/v1/me/identities/{id}",
            handler=auth.leave_identity,
            name="leaveIdentity",
            summary="Remove a way to sign in",
            id_of="an identity",
            answers={204: Answer("It is removed.")},
            refusals=(404, 409),
        ),
        signing_in(
            method="GET",
            path="/v1/me/devices",
            handler=auth.list_devices,
            name="listDevices",
            summary="List where you are signed in",
            answers={200: Answer("All of them.", auth_shapes.DeviceList)},
        ),
        signing_in(
            method="DELETE",
            path="/v1/me/devices",
            handler=auth.end_other_devices,
            name="endOtherDevices",
            summary="Sign all other devices out",
            answers={204: Answer("They are signed out.")},
        ),
        signing_in(
            method="DELETE",
            path="/v1/me/devices/{id}",
            handler=auth.end_device,
            name="endDevice",
            summary="Sign a device out",
            id_of="a device",
            answers={204: Answer("It is signed out.")},
            refusals=(404,),
        ),
    ]
