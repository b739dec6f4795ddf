"""
After any program, what has a receipt is out of everybody's reach, and what nobody erased is as it was.
"""

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings

from tests.closure.programs import AddUser, DieAfter, Restart, Step, programs, run
from tests.closure.stores import PostgresStore
from tests.closure.world import World
from tests.support.postgres import PostgresServer

PARTS = 2
"""For two test processes at once."""
PROGRAMS = 40
"""In each part."""
PROGRAMS_ON_POSTGRESQL = 16


def run_programs(count: int, make_world: Callable[[Path], World]) -> None:
    """
    Run so many random programs, each in a world of its own, and make sure that they were worth it.
    """
    tally = Counter[str]()

    @settings(max_examples=count, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(programs)
    def check(program: Sequence[Step]) -> None:
        note(f"program = {program!r}")
        with tempfile.TemporaryDirectory() as folder:
            world = make_world(Path(folder) / "data")
            asyncio.run(run(program, world))
        tally.update(
            programs=1,
            receipts=len(world.receipted),
            deaths=world.witness.deaths,
            survivors=sum(call.state == "live" for call in world.promises.calls.values()),
        )

    check()
    print(dict(tally))  # noqa: T201 - pytest shows it where it is asked to
    assert min(tally["receipts"], tally["deaths"], tally["survivors"]) > tally["programs"] / 2


# Making a program that failed shorter takes its time.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_program_breaks_a_promise(empty: Path, thoroughness: int, part: int) -> None:
    run_programs(PROGRAMS * thoroughness, lambda data_dir: World(data_dir, empty=empty))


@pytest.mark.parametrize("points", range(6))
def test_a_process_that_dies_while_it_starts_does_not_hold_up_the_next(
    postgresql_server: PostgresServer, tmp_path: Path, points: int
) -> None:
    url = postgresql_server.create_database()
    world = World(tmp_path / "data", PostgresStore(url, 0))
    asyncio.run(run([AddUser(), DieAfter(points), Restart(), AddUser()], world))
    assert 1 == world.witness.deaths
    postgresql_server.drop_database(url)


@pytest.mark.timeout(900)
def test_no_program_breaks_a_promise_on_postgresql(
    postgresql_server: PostgresServer, thoroughness: int
) -> None:
    url = postgresql_server.create_database()
    numbers = itertools.count()
    run_programs(
        PROGRAMS_ON_POSTGRESQL * thoroughness,
        lambda data_dir: World(data_dir, PostgresStore(url, next(numbers))),
    )
    postgresql_server.drop_database(url)
