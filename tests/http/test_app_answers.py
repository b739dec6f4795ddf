"""
That every answer in the table of docs/app.md comes as it says there.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest

from gateway.base.ids import RecordingId
from gateway.http.operations import REFUSALS
from gateway.http.routes import list_operations
from gateway.services.holds import Cause
from gateway.services.recordings import RecordingService
from gateway.settings import Settings
from gateway.spool import PieceWriter, SpoolFailed, SpoolFull
from tests.http.newcomer import Newcomer, wrong
from tests.http.phone import Phone, checksum_of, speech
from tests.http.wire import Intake, Wire
from tests.support.actors import OPS
from tests.support.app_document import ROWS, Row
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving

OF_A_PROXY: Final = (502, 504)
CONTENT: Final = speech(300_000)


class Came(NamedTuple):
    """
    An answer as far as the table goes.
    """

    status: int
    code: str
    headers: Mapping[str, str]


@dataclass
class World:
    """
    A gateway, an app that is signed in, and what a test may break.
    """

    served: Served
    clock: FakeClock
    monkeypatch: pytest.MonkeyPatch
    newcomer: Newcomer

    @property
    def phone(self) -> Phone:
        return self.newcomer.as_phone()

    def breaks(self, fault: Exception) -> None:
        def failing(writer: PieceWriter, gathered: list[bytes]) -> None:
            raise fault

        self.monkeypatch.setattr(PieceWriter, "_write_end", failing)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    clock = FakeClock()
    limits = {"max_length": 1_000_000, "max_open_per_user": 3, "idle_timeout_s": 1}
    async with serving(tmp_path / "data", clock=clock, with_workers=False, uploads=limits) as served:
        newcomer = Newcomer(served)
        await newcomer.sign_in()
        yield World(served, clock, monkeypatch, newcomer)


def came(answer: Any) -> Came:
    problem = answer.problem if hasattr(answer, "problem") else answer.document
    return Came(answer.status, problem["code"], answer.headers)


Provoking = Callable[[World], Awaitable[Came]]
_PROVOKED: dict[tuple[int, str], Provoking] = {}


def provokes(status: int, code: str) -> Callable[[Provoking], Provoking]:
    def note(provoking: Provoking) -> Provoking:
        _PROVOKED[status, code] = provoking
        return provoking

    return note


@provokes(400, "invalid-field")
async def malformed(world: World) -> Came:
    return came(await world.phone.create(5, {"Upload-Metadata": "direction c2lkZXdheXM="}))


@provokes(400, "length-conflict")
async def another_length(world: World) -> Came:
    upload = await world.phone.begin(10)
    return came(await world.phone.patch(upload, 0, b"hello", {"Upload-Length": "11"}))


@provokes(401, "unauthenticated")
async def too_old(world: World) -> Came:
    world.clock.advance(901)
    return came(await world.phone.page())


@provokes(401, "signed-out")
async def signed_out(world: World) -> Came:
    await world.newcomer.mine("POST", "/v1/auth/sign-out")
    return came(await world.newcomer.refresh())


@provokes(403, "not-invited")
async def not_invited(world: World) -> Came:
    async with serving(
        world.served.gateway.settings.data_dir.with_name("closed"),
        with_workers=False,
        sign_in={"open": False},
    ) as served:
        return came(await Newcomer(served).sign_in())


@provokes(403, "leaving")
async def leaving(world: World) -> Came:
    await world.newcomer.mine("DELETE", "/v1/me")
    # He is signed out everywhere, and the next code has to wait.
    world.clock.advance(120)
    await world.newcomer.sign_in()
    return came(await world.phone.create(5))


@provokes(403, "not-fresh")
async def not_fresh(world: World) -> Came:
    world.clock.advance(601)
    return came(await world.newcomer.mine("DELETE", "/v1/me?now=true"))


@provokes(404, "not-found")
async def not_there(world: World) -> Came:
    upload = await world.phone.begin(10)
    await world.phone.terminate(upload)
    return came(await world.phone.patch(upload, 0, b"hello"))


@provokes(408, "body-idle")
async def idle(world: World) -> Came:
    upload = await world.phone.begin(10)
    async with Wire.to(world.served) as wire:
        await wire.begin_patch(world.phone, upload, 0, 10)
        await wire.send(b"hello")
        answer = await wire.answer()
    assert b'"code":"body-idle"' in answer.body
    assert 5 == await world.phone.offset_of(upload)
    return Came(answer.status, "body-idle", answer.headers)


@provokes(409, "offset-mismatch")
async def elsewhere(world: World) -> Came:
    upload = await world.phone.begin(10)
    answer = await world.phone.patch(upload, 5, b"hello")
    assert 0 == answer.offset
    return came(answer)


@provokes(410, "gone")
async def expired(world: World) -> Came:
    upload = await world.phone.begin(10)
    world.clock.advance(8 * 86_400)
    await world.newcomer.refresh()
    return came(await world.phone.patch(upload, 0, b"hello"))


@provokes(410, "sign-in-gone")
async def code_used(world: World) -> Came:
    world.clock.advance(60)
    sent = await world.newcomer.ask_code()
    code = world.newcomer.read_code()
    assert 200 == (await world.newcomer.name_code(sent.document["attempt"], code)).status
    return came(await world.newcomer.name_code(sent.document["attempt"], code))


@provokes(412, "tus-version")
async def no_version(world: World) -> Came:
    return came(await world.phone.create(5, {"Tus-Resumable": "0.2.2"}))


@provokes(412, "edit-conflict")
async def edited_meanwhile(world: World) -> Came:
    recording = await world.phone.record(b"hello")
    tag = {"If-Match": (await world.phone.details(recording)).headers["ETag"]}
    assert 200 == (await world.phone.edit(recording, {"note": "one"}, tag)).status
    return came(await world.phone.edit(recording, {"note": "another"}, tag))


@provokes(413, "too-long")
async def too_long(world: World) -> Came:
    answer = await world.phone.create(1_000_001)
    assert 1_000_000 == answer.problem["limit"]
    return came(answer)


@provokes(415, "unsupported-media-type")
async def another_type(world: World) -> Came:
    upload = await world.phone.begin(5)
    return came(await world.phone.patch(upload, 0, b"hello", {"Content-Type": "audio/mp4"}))


@provokes(416, "range-not-satisfiable")
async def behind_the_end(world: World) -> Came:
    recording = await world.phone.record(b"hello")
    answer = await world.phone.audio(recording, {"Range": "bytes=5-"})
    assert "bytes */5" == answer.headers["Content-Range"]
    return came(answer)


@provokes(422, "wrong-code")
async def wrong_code(world: World) -> Came:
    world.clock.advance(60)
    sent = await world.newcomer.ask_code()
    answer = await world.newcomer.name_code(sent.document["attempt"], wrong(world.newcomer.read_code()))
    assert 4 == answer.document["tries_left"]
    return came(answer)


@provokes(423, "superseded")
async def taken_over(world: World) -> Came:
    upload, intake = await world.phone.begin(len(CONTENT)), Intake(world.monkeypatch)
    async with Wire.to(world.served) as wire:
        await wire.begin_patch(world.phone, upload, 0, len(CONTENT))
        await wire.send(CONTENT[:200_000])
        await intake.reaches(200_000)
        assert 200_000 == await world.phone.offset_of(upload)
        answer = await wire.answer()
    assert b'"code":"superseded"' in answer.body
    return Came(answer.status, "superseded", {name.title(): value for name, value in answer.headers.items()})


@provokes(423, "held")
async def held(world: World) -> Came:
    recording = await world.phone.record(b"hello")
    cause = Cause(reason="a case", placed_by="ops")
    await world.served.gateway.holds.place(
        world.phone.user_id, cause, recording_id=RecordingId(UUID(recording)), tells_user=False, by=OPS
    )
    answer = await world.phone.erase(recording)
    assert "retry" not in answer.problem
    return came(answer)


@provokes(429, "too-many-uploads")
async def too_many_uploads(world: World) -> Came:
    for _ in range(3):
        await world.phone.begin(10)
    return came(await world.phone.create(10))


@provokes(429, "too-many-tries")
async def too_many_tries(world: World) -> Came:
    return came(await world.newcomer.ask_code())


@provokes(460, "checksum-mismatch")
async def other_bytes(world: World) -> Came:
    upload = await world.phone.begin(5)
    answer = await world.phone.patch(upload, 0, b"hello", checksum_of(b"other"))
    assert 0 == await world.phone.offset_of(upload)
    return came(answer)


@provokes(500, "internal")
async def our_fault(world: World) -> Came:
    async def failing(*_: object, **__: object) -> None:
        raise RuntimeError("a slip")

    world.monkeypatch.setattr(RecordingService, "page", failing)
    return came(await world.phone.page())


@provokes(503, "spool-failed")
async def broken(world: World) -> Came:
    upload = await world.phone.begin(len(CONTENT))
    world.breaks(SpoolFailed("broken"))
    return came(await world.phone.patch(upload, 0, CONTENT))


@provokes(507, "out-of-room")
async def full(world: World) -> Came:
    upload = await world.phone.begin(len(CONTENT))
    world.breaks(SpoolFull("full"))
    return came(await world.phone.patch(upload, 0, CONTENT))


REFUSING: Final = [row for row in ROWS if row.statuses[0] >= 400 and row.statuses != OF_A_PROXY]


def test_the_table_names_what_is_provoked_here_and_nothing_else() -> None:
    assert sorted(_PROVOKED) == sorted((row.statuses[0], row.code) for row in REFUSING)
    assert {1} == {len(row.statuses) for row in REFUSING}


@pytest.mark.parametrize("row", REFUSING, ids=lambda row: f"{row.statuses[0]}-{row.code}")
async def test_an_answer_comes_as_the_table_says(world: World, row: Row) -> None:
    answer = await _PROVOKED[row.statuses[0], row.code](world)

    assert (row.statuses[0], row.code) == (answer.status, answer.code)
    if row.header:
        assert row.header in answer.headers
    assert ("Retry-After" == row.header) == ("Retry-After" in answer.headers)


@pytest.mark.parametrize("row", REFUSING, ids=lambda row: f"{row.statuses[0]}-{row.code}")
def test_the_api_document_has_the_code(row: Row) -> None:
    assert row.code in REFUSALS[row.statuses[0]].codes


def test_every_refusal_of_an_upload_is_in_the_table() -> None:
    refusals = {
        status
        for operation in list_operations(Settings())
        if operation.path.startswith("/v1/uploads") and operation.method in ("POST", "HEAD", "PATCH", "GET")
        for status in operation.problem_statuses
        if operation.name != "overrideMethod"
    }

    assert refusals <= {row.statuses[0] for row in REFUSING}


async def test_a_token_that_runs_out_does_not_end_what_is_under_way(world: World) -> None:
    upload, intake = await world.phone.begin(len(CONTENT)), Intake(world.monkeypatch)
    async with Wire.to(world.served) as wire:
        await wire.begin_patch(world.phone, upload, 0, len(CONTENT))
        await wire.send(CONTENT[:200_000])
        await intake.reaches(200_000)
        world.clock.advance(901)
        assert 401 == (await world.phone.page()).status
        await wire.send(CONTENT[200_000:])
        answer = await wire.answer()

    assert (204, str(len(CONTENT))) == (answer.status, answer.headers["upload-offset"])


async def test_a_key_counts_as_long_as_the_document_says(world: World) -> None:
    key = {"Idempotency-Key": "a call's"}
    first = await world.phone.create(5, key, data=b"hello")
    world.clock.advance(86_400 - 1)
    await world.newcomer.refresh()
    await world.served.gateway.expiry.forget_ended()
    assert first.upload_id == (await world.phone.create(5, key, data=b"hello")).upload_id
    assert 1 == len(await world.phone.listed())

    world.clock.advance(1)
    await world.served.gateway.expiry.forget_ended()

    assert first.upload_id != (await world.phone.create(5, key, data=b"hello")).upload_id
