"""
Whatever happens to an upload on its way, what is heard in the end is what was acknowledged, byte by byte.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.http.phone import Phone, checksum_of, speech
from tests.http.wire import Wire, begun, chunk, settled, upload_row

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIB = 1024
sizes = st.one_of(
    st.sampled_from([0, 1, 2, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1]),
    st.integers(0, 50_000),
)
positions = st.floats(0, 1)
steps = st.one_of(
    st.tuples(
        st.sampled_from(["append", "append in chunks", "append summed", "append wrongly summed"]), sizes
    ),
    st.tuples(st.sampled_from(["cut", "cut in chunks", "cut summed"]), sizes),
    st.tuples(st.sampled_from(["append too far on", "append too early", "look", "take over"]), sizes),
)


async def in_chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 7001):
        yield content[start : start + 7001]


@dataclass
class Journey:
    """
    One upload, and what must have become of it.
    """

    phone: Phone
    upload: str
    expected: bytearray = field(default_factory=bytearray)
    seed: int = 0

    async def take(self, step: str, size: int) -> None:
        """
        Do one step; each sends bytes of its own, so that bytes which must not count cannot look as if they did.
        """
        self.seed += 1
        content = speech(size, self.seed)
        match step:
            case "append":
                await self.accepted(content, content)
            case "append in chunks":
                await self.accepted(content, in_chunks(content))
            case "append summed":
                await self.accepted(content, content, checksum_of(content, "sha256"))
            case "append wrongly summed":
                wrong = checksum_of(content + b"x")
                assert 460 == (await self.phone.patch(self.upload, self.offset, content, wrong)).status
            case "append too far on":
                assert 409 == (await self.phone.patch(self.upload, self.offset + 1 + size, content)).status
            case "append too early" if self.offset:
                assert 409 == (await self.phone.patch(self.upload, self.offset - 1, content)).status
            case "cut" | "cut in chunks" | "cut summed":
                await self.cut(content, is_chunked="chunks" in step, is_summed="summed" in step)
            case "take over":
                await self.taken_over(content)
        assert self.offset == await self.phone.offset_of(self.upload)

    @property
    def offset(self) -> int:
        return len(self.expected)

    async def accepted(
        self, content: bytes, body: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None
    ) -> None:
        answer = await self.phone.patch(self.upload, self.offset, body, headers)
        self.expected += content
        assert (204, self.offset) == (answer.status, answer.offset)

    async def cut(self, content: bytes, *, is_chunked: bool, is_summed: bool) -> None:
        before = await upload_row(self.phone.served, self.upload)
        headers = checksum_of(content) if is_summed else {}
        async with Wire.to(self.phone.served) as wire:
            length = None if is_chunked else len(content) + 1
            await wire.begin_patch(self.phone, self.upload, self.offset, length, headers)
            await wire.send(chunk(content) if is_chunked and content else content)
        after = await settled(self.phone.served, self.upload, appends=before.fence + 1)
        if not is_summed:
            self.expected += content
        assert self.offset == after.received

    async def taken_over(self, content: bytes) -> None:
        """
        A request that hangs and one that comes after it: what the first had brought counts or not, but never in part.
        """
        before = await upload_row(self.phone.served, self.upload)
        async with Wire.to(self.phone.served) as wire:
            await wire.begin_patch(self.phone, self.upload, self.offset, len(content) + 1)
            await wire.send(content)
            await begun(self.phone.served, self.upload, appends=before.fence + 1)
            kept = await self.phone.offset_of(self.upload) - self.offset
        assert 0 <= kept <= len(content)
        assert (await upload_row(self.phone.served, self.upload)).unsettled_fence is None
        self.expected += content[:kept]


@hypothesis.settings(
    max_examples=hypothesis.settings().max_examples // 2,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(
    journey=st.lists(steps, max_size=5),
    last=sizes,
    ranges=st.lists(st.tuples(positions, positions), min_size=1, max_size=4),
)
async def test_is_heard_as_it_was_acknowledged(
    phone: Phone,
    journey: list[tuple[str, int]],
    last: int,
    ranges: list[tuple[float, float]],
) -> None:
    # The length is told with the last bytes: how far the steps before get is theirs.
    under_way = Journey(phone, await phone.begin(None))
    for step, size in journey:
        await under_way.take(step, size)
    rest = speech(last, 10**6)
    length = under_way.offset + last
    answer = await phone.patch(under_way.upload, under_way.offset, rest, {"Upload-Length": str(length)})
    assert (204, length) == (answer.status, answer.offset)
    expected = bytes(under_way.expected + rest)

    for _ in range(2):
        assert expected == (await phone.audio(under_way.upload)).body
        for one, other in ranges:
            first, last_byte = sorted((int(one * length), int(other * length)))
            if first >= length:
                continue
            part = await phone.audio(under_way.upload, {"Range": f"bytes={first}-{last_byte}"})
            assert (206, expected[first : last_byte + 1]) == (part.status, part.body)
        await phone.served.placed()
