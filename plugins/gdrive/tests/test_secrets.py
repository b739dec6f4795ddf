"""
Tokens and upload URLs stay where they belong.
"""

import json
import logging
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gateway_gdrive.backend import DriveBackend
from gateway_gdrive.backend import connect as connect_drive
from gateway_gdrive.settings import GDriveSettings

from gateway.api import (
    BackendContext,
    BackendError,
    Misconfigured,
    PutSession,
    ResumablePuts,
    SessionLost,
    Unsupported,
    new_blob_key,
)
from gateway.testing.conformance import PIECE
from plugins.gdrive.tests.drives import begun, sent
from tests.emulators.cloud import Account
from tests.emulators.faults import Effect
from tests.emulators.gdrive import DriveEmulator
from tests.support.lent import LentTokens, lent_context


async def test_no_token_and_no_upload_url_shows_in_a_message_or_in_the_logs(
    cloud: DriveEmulator,
    backend: DriveBackend,
    puts: ResumablePuts,
    lent_tokens: LentTokens,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    session = await begun(puts, new_blob_key())
    told = [repr(backend.traits)]
    for effect in (
        Effect.CUT_BEFORE,
        Effect.CUT_IN_BODY,
        Effect.LOSE_ANSWER,
        Effect.FAIL,
        Effect.THROTTLE,
        Effect.EXPIRE_TOKEN,
    ):
        for operation in ("begin", "append", "resume", "stat", "abort"):
            cloud.faults.clear()
            cloud.faults.order(operation, effect, times=2)
            try:
                await puts.resume(session)
                await sent(puts, session, until=PIECE)
                await puts.commit(session)
            except BackendError as exc:
                told += _chain(exc)
            try:
                await puts.abort(await begun(puts, new_blob_key()))
            except BackendError as exc:
                told += _chain(exc)
    cloud.faults.clear()
    cloud.forget_sessions()
    with pytest.raises(SessionLost) as lost:
        await puts.resume(session)
    told += _chain(lost.value)
    url = json.loads(session.token)["url"]
    secrets = [*lent_tokens.handed_out, url, url.split("upload_id=")[1], "Bearer"]
    text = "\n".join([*told, caplog.text])
    assert len(told) > 20
    assert [secret for secret in secrets if secret in text] == []


async def test_the_token_goes_to_nobody_but_its_own_server(
    puts: ResumablePuts, lent_tokens: LentTokens
) -> None:
    seen: list[str] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=308)

    app = web.Application()
    app.router.add_put("/elsewhere", take)
    session = await begun(puts, new_blob_key())
    async with TestServer(app) as server:
        token = {**json.loads(session.token), "url": str(server.make_url("/elsewhere"))}
        assert 0 == (await puts.resume(PutSession(json.dumps(token), 0))).offset
    assert [""] == seen


async def test_a_redirect_is_not_followed(
    cloud: DriveEmulator, account: Account, lent_tokens: LentTokens
) -> None:
    asked: list[str] = []

    async def lead_on(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lead_on)
    async with TestServer(app) as server:
        settings: dict[str, Any] = {**cloud.settings(), "api_url": str(server.make_url("/"))}
        async with (
            lent_context(cloud, account, cloud.scopes(), lane=1, tokens=lent_tokens) as context,
            connect_drive(context, GDriveSettings(**settings)) as backend,
        ):
            with pytest.raises(Misconfigured):
                await backend.quota()
    assert ["/drive/v3/about"] == asked


async def test_parts_do_not_go_where_nothing_protects_them(
    cloud: DriveEmulator, account: Account, lent_tokens: LentTokens, puts: ResumablePuts
) -> None:
    session = await begun(puts, new_blob_key())
    settings: dict[str, Any] = {**cloud.settings(), "api_url": "https://www.googleapis.com/"}
    async with (
        lent_context(cloud, account, cloud.scopes(), lane=1, tokens=lent_tokens) as context,
        connect_drive(context, GDriveSettings(**settings)) as secure,
    ):
        assert secure.resumable is not None
        with pytest.raises(Unsupported):
            await secure.resumable.resume(session)


async def test_a_connection_without_tokens_or_a_lane_is_refused(cloud: DriveEmulator) -> None:
    with pytest.raises(Misconfigured):
        await connect_drive(
            BackendContext(account="gdrive"),
            GDriveSettings(**cloud.settings()),  # type: ignore[arg-type]
        ).__aenter__()


def _chain(exc: BaseException | None) -> list[str]:
    """
    Return what a traceback in a log would say, causes and contexts too.
    """
    told = []
    while exc is not None:
        told += [str(exc), repr(exc)]
        exc = exc.__cause__ or exc.__context__
    return told
