"""
OPTIONS: what is offered.
"""

import pytest

from tests.http.phone import UPLOADS, Phone
from tests.support.gateway import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("path", [UPLOADS, f"{UPLOADS}/00000000-0000-4000-8000-000000000000"])
async def test_tells_version_extensions_limit_and_algorithms_without_a_token(
    shared: Served, path: str
) -> None:
    async with shared.http.options(path) as response:
        headers = response.headers
        assert (204, b"") == (response.status, await response.read())
    assert "1.0.0" == headers["Tus-Resumable"]
    assert "1.0.0" == headers["Tus-Version"]
    assert {
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "termination",
        "checksum",
        "expiration",
    } == set(headers["Tus-Extension"].split(","))
    assert {"sha1", "sha256"} == set(headers["Tus-Checksum-Algorithm"].split(","))
    assert shared.gateway.settings.uploads.max_length == int(headers["Tus-Max-Size"])


async def test_a_wrong_version_is_no_matter(phone: Phone) -> None:
    answer = await phone.ask("OPTIONS", UPLOADS, {"Tus-Resumable": "0.2.2"})

    assert 204 == answer.status
