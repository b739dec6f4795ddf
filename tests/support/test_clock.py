from gateway.base.clock import Clock
from tests.support.clock import FakeClock


def test_stands_still_until_told() -> None:
    clock: Clock = FakeClock(now_ms=5000)

    assert (5000, clock.monotonic()) == (clock.now_ms(), clock.monotonic())


def test_advance_moves_both_clocks() -> None:
    clock = FakeClock(now_ms=5000)
    started = clock.monotonic()

    clock.advance(2.5)

    assert (7500, 2.5) == (clock.now_ms(), clock.monotonic() - started)


def test_jump_moves_the_wall_clock_alone() -> None:
    clock = FakeClock(now_ms=5000)
    started = clock.monotonic()

    clock.jump(-3)

    assert (2000, started) == (clock.now_ms(), clock.monotonic())
