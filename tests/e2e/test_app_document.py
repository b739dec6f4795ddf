"""
That every example in docs/app.md does what is said of it.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.settings import passed_environment
from tests.emulators.emulator import EmulatedClock
from tests.emulators.oidc import GoogleSignIn
from tests.http.newcomer import Newcomer
from tests.http.phone import speech
from tests.http.test_openid import settings_of
from tests.support.app_document import BLOCKS, Block, program
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.tcp_proxy import TcpProxy, proxying
from tests.support.tree import ROOT

SAMPLE = ROOT / "gateway" / "cli" / "sample" / "call.m4a"
RETURN_TO = "org.example.app:/signed-in"
DETAILS = {"filename": "call.m4a", "filetype": "audio/mp4", "party_name": "Zoë"}
SHOWN = ("json", "http")
"""Languages of what the block before printed."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def google(clock: FakeClock) -> Iterator[GoogleSignIn]:
    with GoogleSignIn(clock=EmulatedClock(clock)) as provider:
        yield provider


@pytest.fixture
async def served(tmp_path: Path, clock: FakeClock, google: GoogleSignIn) -> AsyncIterator[Served]:
    sign_in = {"kinds": {"console": {}, "google": settings_of(google)}, "return_to": [RETURN_TO]}
    async with serving(
        tmp_path / "data", clock=clock, with_workers=False, sign_in=sign_in, log={"level": "error"}
    ) as gateway:
        google.register(f"{gateway.url}/v1/auth/google/callback")
        yield gateway


def test_there_is_a_way_to_run_every_example() -> None:
    assert {"sh", "python", *SHOWN} == {block.language for block in BLOCKS}
    shown = [number for number, block in enumerate(BLOCKS) if block.language in SHOWN]
    assert {"sh"} == {BLOCKS[number - 1].language for number in shown}


# The shell


async def test_the_shell_s_examples_do_what_is_shown_below_them(
    served: Served, clock: FakeClock, tmp_path: Path
) -> None:
    shell = Shell(served, tmp_path)
    (tmp_path / "call.m4a").write_bytes(SAMPLE.read_bytes())
    printed = ""
    for block in BLOCKS:
        if block.language == "sh":
            printed = await asyncio.to_thread(shell.run, block)
            clock.advance(1)
        elif block.language == "json":
            assert_alike(json.loads(block.text), json.loads(printed))
        elif block.language == "http":
            assert_answer_alike(block.text, printed)

    assert SAMPLE.read_bytes()[:100] == (tmp_path / "range.txt").read_bytes().partition(b"\r\n\r\n")[2]
    # What was uploaded in one request, and a second time with the same key, is one; what came in two is another.
    held = await asyncio.to_thread(
        shell.run, Block("sh", 'curl -s $GATEWAY/v1/recordings -H "Authorization: Bearer $TOKEN"')
    )
    assert 1 == len(json.loads(held)["recordings"])
    assert await verified(served, json.loads((tmp_path / "erasure.json").read_text()))


class Shell:
    """
    One shell in which the blocks run after each other; what it reads is the code that was sent last.
    """

    def __init__(self, served: Served, folder: Path) -> None:
        self._served = served
        self._folder = folder
        self._state = folder / "state.sh"
        self._state.touch()

    def run(self, block: Block) -> str:
        waits_for_code = "read -r" in block.text
        script = "\n".join(
            [
                "set -euo pipefail -o allexport",
                f"source {self._state}",
                block.at(self._served.url),
                f"{{ declare -px; declare -f; }} > {self._state}",
            ]
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env={"PATH": passed_environment()["PATH"], "LANG": "C.UTF-8"},
            input=Newcomer(self._served).read_code() + "\n" if waits_for_code else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert 0 == done.returncode, f"{block.text}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def assert_alike(shown: Any, found: Any) -> None:
    """
    Check that what is shown has the members, and each of them the type, of what was found; an empty object stands for any.
    """
    assert type(shown) is type(found), (shown, found)
    if isinstance(shown, dict) and shown:
        assert shown.keys() == found.keys()
        for name, value in shown.items():
            assert_alike(value, found[name])
    elif isinstance(shown, list):
        assert len(shown) == len(found)
        for one, other in zip(shown, found, strict=True):
            assert_alike(one, other)


def assert_answer_alike(shown: str, found: str) -> None:
    first, *headers = shown.splitlines()
    assert first == found.splitlines()[0]
    there = {line.partition(":")[0] for line in found.splitlines()[1:]}
    assert {line.partition(":")[0] for line in headers} <= there


async def verified(served: Served, erasure: dict[str, Any]) -> bool:
    """
    Let the document's program judge the receipt, and forgeries of it.
    """
    is_signed = program(served.url)["is_signed"]
    async with served.http.get("/v1/receipt-keys") as response:
        keys = (await response.json())["keys"]
    others = {**erasure, "id": "8dbaa655-b422-4c5b-853d-11338df42534"}
    changed = {**erasure, "receipt": {**erasure["receipt"], "sequence": 2}}
    assert not is_signed(others, keys)
    assert not is_signed(changed, keys)
    assert not is_signed(erasure, [])
    return bool(is_signed(erasure, keys))


# The program


class App:
    """
    The document's program, signed in at a provider.
    """

    def __init__(self, served: Served, google: GoogleSignIn, *, line: TcpProxy | None = None) -> None:
        """
        Sign in; from then on everything goes over *line*, if there is one.
        """
        self.served = served
        self.stored: list[dict[str, Any]] = []
        self.program = program(served.url)
        account = google.new_account()

        def open_browser(address: str) -> str:
            back = google.approve(address, account)
            with closing(
                requests.get(served.url + back.removeprefix(served.url), allow_redirects=False, timeout=10)
            ) as came:
                return came.headers["Location"]

        self.tokens = self.program["sign_in_at"]("google", open_browser, "Ada's phone")
        if line is not None:
            self.program["GATEWAY"] = line.url
        self.session = self.program["Session"](self.tokens, self.stored.append)

    def call(self, folder: Path, content: bytes) -> Any:
        path = folder / "call.m4a"
        path.write_bytes(content)
        return self.program["Call"](path, dict(DETAILS))

    async def step(self, call: Any) -> float | None:
        wait: float | None = await asyncio.to_thread(self.program["step"], self.session, call)
        return wait

    async def has(self, content: bytes) -> None:
        """
        Check that there is one recording, with these bytes.
        """
        (recording,) = (await asyncio.to_thread(self.session.request, "GET", "/v1/recordings")).json()[
            "recordings"
        ]
        assert DETAILS == {name: recording[name] for name in DETAILS}
        audio = await asyncio.to_thread(self.session.request, "GET", recording["audio"])
        assert content == audio.content


@pytest.fixture
async def app(served: Served, google: GoogleSignIn) -> App:
    return await asyncio.to_thread(App, served, google)


@pytest.fixture
async def line(served: Served) -> AsyncIterator[TcpProxy]:
    async with proxying(served.url) as proxy:
        yield proxy


CONTENT = speech(400_000)


async def test_a_call_is_safe_after_one_request(app: App, tmp_path: Path) -> None:
    assert await app.step(app.call(tmp_path, CONTENT)) is None

    await app.has(CONTENT)


async def test_a_creation_whose_answer_was_lost_makes_no_second_recording(
    served: Served, google: GoogleSignIn, line: TcpProxy, tmp_path: Path
) -> None:
    app = await asyncio.to_thread(App, served, google, line=line)
    call = app.call(tmp_path, CONTENT)
    line.lose_answers()

    assert await app.step(call)
    assert call.url is None
    assert await app.step(call) is None

    await app.has(CONTENT)


async def test_a_broken_request_goes_on_where_it_broke(
    served: Served, google: GoogleSignIn, line: TcpProxy, tmp_path: Path
) -> None:
    app = await asyncio.to_thread(App, served, google, line=line)
    call = app.call(tmp_path, CONTENT)
    line.cut_after(300_000)

    assert await app.step(call)
    # The creation again: 201, or 409 where the broken one was still being written. Then the rest.
    assert await app.step(call) is not None
    assert 0 < call.offset < len(CONTENT)
    assert await app.step(call) is None

    await app.has(CONTENT)


async def test_a_token_that_ran_out_is_refreshed_and_the_upload_url_stays(
    app: App, clock: FakeClock, tmp_path: Path
) -> None:
    call = await begun(app, tmp_path)
    url, before = call.url, app.session.tokens
    clock.advance(901)

    assert await app.step(call) is None

    assert url == call.url
    assert [app.session.tokens] == app.stored
    assert before["refresh_token"] != app.session.tokens["refresh_token"]
    await app.has(CONTENT)


async def begun(app: App, folder: Path) -> Any:
    """
    Return a call of which a part is here already, and the program knows it.
    """
    call = app.call(folder, CONTENT)
    headers = {**app.program["BYTES"], "Upload-Length": str(call.size), "Upload-Metadata": call.metadata()}
    answer = await asyncio.to_thread(
        requests.post,
        f"{app.served.url}/v1/uploads",
        data=CONTENT[:1000],
        headers={**headers, "Authorization": f"Bearer {app.session.tokens['access_token']}"},
        timeout=10,
    )
    call.url, call.offset, call.safe = answer.headers["Location"], 1000, 1000
    return call


async def test_a_refresh_whose_answer_was_lost_is_asked_for_again(
    served: Served, google: GoogleSignIn, line: TcpProxy, clock: FakeClock
) -> None:
    app = await asyncio.to_thread(App, served, google, line=line)
    clock.advance(901)
    assert 401 == await asyncio.to_thread(requests_status, served, app.session.tokens)
    line.lose_answers()
    await asyncio.to_thread(app.session.refresh, app.session.tokens["access_token"])

    assert 200 == await asyncio.to_thread(requests_status, served, app.session.tokens)


def requests_status(served: Served, tokens: dict[str, Any]) -> int:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return requests.get(f"{served.url}/v1/recordings", headers=headers, timeout=10).status_code


async def test_refreshes_at_once_are_one(app: App, clock: FakeClock) -> None:
    clock.advance(901)

    answers = await asyncio.gather(
        *(asyncio.to_thread(app.session.request, "GET", "/v1/recordings") for _ in range(4))
    )

    assert [200] * 4 == [answer.status_code for answer in answers]
    assert 1 == len(app.stored)


async def test_who_is_signed_out_is_told(app: App) -> None:
    await asyncio.to_thread(app.session.request, "POST", "/v1/auth/sign-out")

    with pytest.raises(app.program["SignedOut"]):
        await asyncio.to_thread(app.session.request, "GET", "/v1/recordings")


async def test_a_wrong_offset_is_put_right(app: App, tmp_path: Path) -> None:
    call = await begun(app, tmp_path)
    call.offset = 5

    assert await app.step(call)
    assert 1000 == call.offset
    assert await app.step(call) is None

    await app.has(CONTENT)


async def test_an_upload_that_expired_begins_anew(app: App, clock: FakeClock, tmp_path: Path) -> None:
    call = await begun(app, tmp_path)
    key = call.key
    clock.advance(8 * 86_400)

    assert await app.step(call)
    assert (None, None) == (call.url, call.offset)
    assert key != call.key
    assert await app.step(call) is None

    await app.has(CONTENT)


async def test_what_was_finished_long_ago_is_not_sent_again(
    app: App, clock: FakeClock, tmp_path: Path
) -> None:
    """
    Its last answer was lost, and the phone came back only when its upload had been forgotten.
    """
    call = app.call(tmp_path, CONTENT)
    assert await app.step(call) is None
    call.offset = None
    clock.advance(2 * 86_400)
    await app.served.gateway.expiry.forget_ended()
    answer = await asyncio.to_thread(app.session.request, "HEAD", call.url, app.program["TUS"])
    assert 404 == answer.status_code

    assert await app.step(call) is None

    await app.has(CONTENT)


async def test_what_is_refused_for_good_is_told_with_the_answer(app: App, tmp_path: Path) -> None:
    call = app.call(tmp_path, CONTENT)
    call.details["direction"] = "sideways"

    with pytest.raises(app.program["Refused"], match="direction"):
        await app.step(call)


async def test_a_proxy_s_refusal_is_waited_out(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await begun(app, tmp_path)
    answer = requests.Response()
    for answer.status_code in (502, 504):
        with monkeypatch.context() as patch:
            patch.setattr(requests, "request", lambda *_, **__: answer)
            assert await app.step(call)
        assert call.offset is None
    assert 0 == await app.step(call)
    assert await app.step(call) is None

    await app.has(CONTENT)
