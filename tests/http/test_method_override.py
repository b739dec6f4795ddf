"""
X-HTTP-Method-Override: for clients that may only send POST.
"""

import pytest

from tests.http.phone import UPLOADS, Answer, Phone
from tests.support.gateway import APPEND, TUS

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def meant(phone: Phone, method: str, upload: str, **headers: str) -> Answer:
    sent = {
        **APPEND,
        "X-HTTP-Method-Override": method,
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return await phone.ask(
        "POST", f"{UPLOADS}/{upload}", sent, b"hello" if method.upper() == "PATCH" else b""
    )


@pytest.mark.parametrize("spelling", ["PATCH", "patch"])
async def test_patch_head_and_delete_can_be_meant(phone: Phone, spelling: str) -> None:
    upload = await phone.begin(10)

    patched = await meant(phone, spelling, upload, Upload_Offset="0")
    assert (204, 5) == (patched.status, patched.offset)
    headed = await meant(phone, "HEAD", upload)
    assert (200, 5, b"") == (headed.status, headed.offset, headed.body)
    assert 204 == (await meant(phone, "DELETE", upload)).status

    assert 404 == (await phone.head(upload)).status


async def test_the_checks_of_what_is_meant_hold(phone: Phone) -> None:
    upload = await phone.begin(10)

    assert 409 == (await meant(phone, "PATCH", upload, Upload_Offset="5")).status
    assert 412 == (await meant(phone, "PATCH", upload, Upload_Offset="0", Tus_Resumable="0.1.0")).status
    assert 401 == (await meant(phone, "DELETE", upload, Authorization="Bearer x")).status
    assert 0 == await phone.offset_of(upload)


@pytest.mark.parametrize("method", ["", "GET", "PUT", "POST", "OPTIONS", "TRACE", "PATCH, DELETE"])
async def test_anything_else_is_not_offered(phone: Phone, method: str) -> None:
    upload = await phone.begin(10)

    assert 405 == (await meant(phone, method, upload)).status
    assert 405 == (await phone.ask("POST", f"{UPLOADS}/{upload}", TUS)).status


async def test_another_method_than_post_is_what_it_is(phone: Phone) -> None:
    """
    A link that deletes when it is followed would be a trap.
    """
    recording = await phone.record(b"hello")

    answer = await phone.ask("GET", f"{UPLOADS}/{recording}", {**TUS, "X-HTTP-Method-Override": "DELETE"})

    assert (200, b"hello") == (answer.status, answer.body)
