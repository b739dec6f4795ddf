"""
What is asked for at the same time is done together.
"""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.base.batches import Batches


class Work:
    """
    Doubles numbers, one batch after the other, each held up until it is let go.
    """

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        self.begun.set()
        await self.may_go_on.wait()
        if 13 in items:
            raise ValueError("thirteen")
        if 17 in items:
            raise LookupError("seventeen")
        return [ArithmeticError("odd") if item % 2 else item * 2 for item in items]


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def batches(work: Work) -> Batches[int, int]:
    return Batches(work, most=3, for_all=(LookupError,))


async def begun(batches: Batches[int, int], work: Work, *items: int) -> list["asyncio.Task[int]"]:
    """
    Submit 2 alone, and the others while it is worked on; then let everything go on.
    """
    first = asyncio.create_task(batches.submit(2))
    await work.begun.wait()
    later = [asyncio.create_task(batches.submit(item)) for item in items]
    await asyncio.sleep(0)
    work.may_go_on.set()
    assert 4 == await first
    return later


async def test_what_comes_meanwhile_forms_the_next_batch(batches: Batches[int, int], work: Work) -> None:
    later = await begun(batches, work, 4, 6, 8, 10)
    assert [8, 12, 16, 20] == await asyncio.gather(*later)
    assert [[2], [4, 6, 8], [10]] == work.batches


async def test_an_answer_may_be_an_error_for_one_alone(batches: Batches[int, int], work: Work) -> None:
    later = await begun(batches, work, 4, 5)
    even, odd = await asyncio.gather(*later, return_exceptions=True)
    assert 8 == even
    assert isinstance(odd, ArithmeticError)


async def test_one_that_fails_the_batch_takes_no_other_with_it(
    batches: Batches[int, int], work: Work
) -> None:
    later = await begun(batches, work, 4, 13, 6)
    outcomes = await asyncio.gather(*later, return_exceptions=True)
    assert [8, 12] == [outcomes[0], outcomes[2]]
    assert isinstance(outcomes[1], ValueError)
    assert [[2], [4, 13, 6], [4], [13], [6]] == work.batches


async def test_what_concerns_all_is_not_done_again(batches: Batches[int, int], work: Work) -> None:
    later = await begun(batches, work, 4, 17)
    outcomes = await asyncio.gather(*later, return_exceptions=True)
    assert [LookupError, LookupError] == [type(outcome) for outcome in outcomes]
    assert [[2], [4, 17]] == work.batches


async def test_who_gives_up_waiting_disturbs_nobody(batches: Batches[int, int], work: Work) -> None:
    impatient, patient = (asyncio.create_task(batches.submit(item)) for item in (4, 6))
    await work.begun.wait()
    impatient.cancel()
    work.may_go_on.set()
    assert 12 == await patient
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_closing_waits_for_what_was_submitted(batches: Batches[int, int], work: Work) -> None:
    submitted = asyncio.create_task(batches.submit(2))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batches.close())
    await asyncio.sleep(0)
    assert not closing.done()
    work.may_go_on.set()
    await closing
    assert 4 == await submitted
