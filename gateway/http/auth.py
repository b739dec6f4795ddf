"""
``/v1/auth`` on the wire: signing an app in and out.
"""

from typing import Final

from aiohttp import web

from gateway.http.auth_shapes import (
    CodeRequest,
    ConsentRequest,
    DeviceList,
    IdentityList,
    JoinRequest,
    TokenRequest,
    WayList,
    code_document,
    device_document,
    identity_document,
    sign_in_consent_document,
    token_document,
    way_document,
)
from gateway.http.authentication import Session, authenticated, session_of, token_of
from gateway.http.callbacks import CALLBACK_PAGE, CallbackPage
from gateway.http.context import context_of, path_id
from gateway.http.documents import decode_json_body, json_response
from gateway.http.origins import origin_of
from gateway.http.public_address import public_url
from gateway.http.sessions import ACCOUNT_PAGE, BINDING_COOKIE, forget_binding, sign_in_browser
from gateway.services.errors import InvalidField, SignedOut, SignInGone, WrongCode
from gateway.services.identities import Proven
from gateway.services.ways import PHONE

CALLBACK: Final = "/v1/auth/{id}/callback"
_GUESSES: Final = (WrongCode, SignInGone, SignedOut)
"""What somebody meets who tries things out."""


async def list_ways(request: web.Request) -> web.Response:
    """
    List the ways of signing in.
    """
    return json_response(WayList(ways=[way_document(way) for way in context_of(request).people.ways]))


async def send_code(request: web.Request) -> web.Response:
    """
    Send a code to a number.
    """
    wanted = await decode_json_body(request, CodeRequest)
    sent = await context_of(request).people.codes.send(
        request.match_info["id"],
        wanted.number,
        channel=wanted.channel,
        locale=wanted.locale,
        origin=origin_of(request),
    )
    return json_response(code_document(sent), status=202)


async def begin_consent(request: web.Request) -> web.Response:
    """
    Begin to sign an app in at a provider.
    """
    wanted = await decode_json_body(request, ConsentRequest)
    way = request.match_info["id"]
    consent = await context_of(request).people.consents.begin_for_app(
        way,
        redirect_uri=callback_url(request, way),
        return_to=wanted.return_to,
        challenge=wanted.code_challenge,
    )
    return json_response(sign_in_consent_document(consent), status=201)


async def give_tokens(request: web.Request) -> web.Response:
    """
    Give an app tokens for what it shows.
    """
    wanted = await decode_json_body(request, TokenRequest)
    people = context_of(request).people
    origin = origin_of(request)
    try:
        if wanted.grant_type == "refresh_token":
            signed_in = await people.devices.refresh(_needed("refresh_token", wanted.refresh_token))
            is_new = is_leaving = False
        else:
            user, is_new = await people.identities.enter(await _proven(request, wanted))
            is_leaving = user.is_leaving
            signed_in = await people.devices.sign_in_app(user, name=wanted.device_name)
    except _GUESSES:
        await people.counts.count_failure(origin)
        raise
    return json_response(
        token_document(signed_in, now_ms=people.clock.now_ms(), is_new=is_new, is_leaving=is_leaving)
    )


async def sign_out(request: web.Request) -> web.Response:
    """
    Sign this device out.
    """
    user = await authenticated(request)
    people = context_of(request).people
    device = await people.devices.device_of(token_of(request))
    if device is None:
        await context_of(request).accounts.revoke_token(token_of(request))
    else:
        await people.devices.end(user, device, reason="signed-out")
    return web.Response(status=204)


async def list_identities(request: web.Request) -> web.Response:
    """
    List how the user signs in.
    """
    user = await authenticated(request)
    held = await context_of(request).people.identities.list_of(user)
    return json_response(IdentityList(identities=[identity_document(view) for view in held]))


async def join_identity(request: web.Request) -> web.Response:
    """
    Add a way to sign in, which the user has proved to be his.
    """
    user = await authenticated(request)
    wanted = await decode_json_body(request, JoinRequest)
    people = context_of(request).people
    try:
        proven = await _proven(request, wanted)
    except _GUESSES:
        await people.counts.count_failure(origin_of(request))
        raise
    return json_response(identity_document(await people.identities.join(user, proven)), status=201)


async def leave_identity(request: web.Request) -> web.Response:
    """
    Remove a way to sign in.
    """
    user = await authenticated(request)
    await context_of(request).people.identities.leave(user, str(path_id(request, "identity")))
    return web.Response(status=204)


async def list_devices(request: web.Request) -> web.Response:
    """
    List where the user is signed in.
    """
    user = await authenticated(request)
    devices = context_of(request).people.devices
    this = await devices.device_of(token_of(request))
    return json_response(
        DeviceList(devices=[device_document(view, this=this) for view in await devices.list_of(user)])
    )


async def end_device(request: web.Request) -> web.Response:
    """
    Sign one of the user's devices out.
    """
    user = await authenticated(request)
    await context_of(request).people.devices.end(user, str(path_id(request, "device")))
    return web.Response(status=204)


async def end_other_devices(request: web.Request) -> web.Response:
    """
    Sign all of the user's devices out but this one.
    """
    user = await authenticated(request)
    devices = context_of(request).people.devices
    await devices.end_others(user, but=await devices.device_of(token_of(request)))
    return web.Response(status=204)


async def come_back(request: web.Request) -> web.StreamResponse:
    """
    Take a browser back from a provider: sign it in, add what it proves to its user's account, or send it on to the app that asked.
    """
    people = context_of(request).people
    session: Session | None = None
    try:
        session = await session_of(request)
        back = await people.consents.finish(
            request.match_info["id"],
            state=_needed("state", request.query.get("state")),
            code=request.query.get("code"),
            error=request.query.get("error"),
            issuer=request.query.get("iss"),
            browser=request.cookies.get(BINDING_COOKIE),
        )
        response = web.Response(
            status=303, headers={"Location": back.return_to, "Referrer-Policy": "no-referrer"}
        )
        if back.proven is not None and back.joins_to is not None:
            if session is None or session.user.id != back.joins_to:
                raise SignInGone("somebody else is signed in now, or nobody; sign in and begin again")
            await people.identities.join(session.user, back.proven)
            forget_binding(response)
        elif back.proven is not None:
            user, _ = await people.identities.enter(back.proven)
            if user.is_leaving:
                response.headers["Location"] = ACCOUNT_PAGE
            await sign_in_browser(request, response, user, is_remembered=back.is_remembered)
    except Exception as error:  # noqa: BLE001 - a person gets a page, whatever it is
        title = "Not signed in" if session is None else "Nothing was changed"
        return request.app[CALLBACK_PAGE](CallbackPage.of_failure(title, error))
    return response


def callback_url(request: web.Request, way: str) -> str:
    """
    Return where a provider sends the browser back to.
    """
    return public_url(request) + CALLBACK.format(id=way)


async def _proven(request: web.Request, wanted: TokenRequest | JoinRequest) -> Proven:
    people = context_of(request).people
    code = _needed("code", wanted.code)
    if wanted.grant_type == "phone_code":
        return await people.codes.check(
            PHONE, _needed("attempt", wanted.attempt), code, origin=origin_of(request)
        )
    return await people.consents.redeem(code, _needed("code_verifier", wanted.code_verifier))


def _needed(field: str, value: str | None) -> str:
    if not value:
        raise InvalidField(field, "is missing")
    return value
