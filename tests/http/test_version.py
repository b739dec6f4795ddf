"""
Tus-Resumable: the version that both sides speak.
"""

from uuid import uuid4

import pytest

from tests.http.phone import UPLOADS, Phone
from tests.support.gateway import APPEND, TUS, Served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("version", [None, "", "0.2.2", "1", "1.0", "1.0.1", "2.0.0", "1.0.0,0.2.2"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
async def test_another_version_is_refused_and_nothing_is_done(
    phone: Phone, method: str, version: str | None
) -> None:
    upload = await phone.begin(5)
    headers = {"Upload-Length": "5", "Upload-Offset": "0", "Content-Type": APPEND["Content-Type"]}
    if version is not None:
        headers["Tus-Resumable"] = version
    path = UPLOADS if method == "POST" else f"{UPLOADS}/{upload}"

    answer = await phone.ask(method, path, headers, None if method in ("HEAD", "DELETE") else b"hello")

    assert (412, "1.0.0") == (answer.status, answer.headers["Tus-Version"])
    if method != "HEAD":
        assert "tus-version" == answer.problem["code"]
    assert 0 == await phone.offset_of(upload)


async def test_every_answer_below_uploads_names_the_version(shared: Served, phone: Phone) -> None:
    upload = await phone.begin(5)
    done = await phone.record(b"hello")
    unknown = f"{UPLOADS}/{uuid4()}"
    ask = phone.ask
    answers = [
        await ask("OPTIONS", UPLOADS),
        await ask("POST", UPLOADS, TUS),
        await ask("POST", UPLOADS),
        await ask("GET", UPLOADS),
        await ask("HEAD", unknown, TUS),
        await ask("PATCH", unknown, TUS),
        await ask("GET", unknown, TUS),
        await ask("DELETE", unknown),
        await ask("POST", unknown, TUS),
        await ask("GET", f"{UPLOADS}/{upload}"),
        await ask("GET", f"{UPLOADS}/{done}"),
        await ask("GET", f"{UPLOADS}/{done}", {"Range": "bytes=1-2"}),
        await ask("GET", f"{UPLOADS}/{done}", {"Range": "bytes=9-"}),
        await ask("PATCH", f"{UPLOADS}/{upload}", {**APPEND, "Upload-Offset": "3"}, b"x"),
        await ask("HEAD", f"{UPLOADS}/{upload}", {**TUS, "Authorization": "Bearer x"}),
    ]

    assert [200, 206, 416] == [answer.status for answer in answers[10:13]]
    assert ["1.0.0"] * len(answers) == [answer.headers.get("Tus-Resumable") for answer in answers]


async def test_a_recording_s_address_says_nothing_of_tus(phone: Phone) -> None:
    done = await phone.record(b"hello")

    assert "Tus-Resumable" not in (await phone.audio(done)).headers
    assert "Tus-Resumable" not in (await phone.details(done)).headers
