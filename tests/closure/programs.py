"""
Random programs: what users do, what operators do, and what goes wrong.

Each step prints as it is written, so a program that failed can be pasted into a test.
Numbers choose among what there is; where there is nothing to choose from, a step does nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from tests.closure.world import Call, CallState, Owner, World

T = TypeVar("T")

SIZES = (0, 1, 700, 16384, 20000)
STEPS = (
    "0-pending-cleared",
    "1-root-put",
    "2-before-commit",
    "2-committed",
    "3-read-back",
    "4-destroyed",
    "5-before-commit",
    "5-shredded",
)


class Step(Protocol):
    """
    One step of a program.
    """

    async def take(self, world: World) -> None: ...


def _choose(among: Sequence[T], number: int) -> T | None:
    return among[number % len(among)] if among else None


def _calls(world: World, state: CallState) -> list[Call]:
    owners = world.promises.owners
    return [
        call
        for call in world.promises.calls.values()
        if call.state == state and owners[call.owner].state == "active"
    ]


def _owners(world: World) -> list[Owner]:
    return [owner for owner in world.promises.owners.values() if owner.state == "active"]


@dataclass(frozen=True)
class AddUser:
    beside: bool = False

    async def take(self, world: World) -> None:
        await world.add_owner(beside=self.beside)


@dataclass(frozen=True)
class Upload:
    user: int
    size: int
    pieces: int = 1

    async def take(self, world: World) -> None:
        if owner := _choose(_owners(world), self.user):
            await world.upload(owner, self.size, pieces=self.pieces)


@dataclass(frozen=True)
class Begin:
    """
    An upload that is left unfinished, with half of it sent.
    """

    user: int
    size: int

    async def take(self, world: World) -> None:
        if owner := _choose(_owners(world), self.user):
            call = await world.begin(owner, self.size)
            await world.send(call, self.size // 2)


@dataclass(frozen=True)
class Finish:
    which: int

    async def take(self, world: World) -> None:
        if call := _choose(_calls(world, "unfinished"), self.which):
            await world.send(call, len(call.content))


@dataclass(frozen=True)
class Terminate:
    which: int

    async def take(self, world: World) -> None:
        if call := _choose(_calls(world, "unfinished"), self.which):
            await world.terminate(call)


@dataclass(frozen=True)
class ExpireUnfinished:
    async def take(self, world: World) -> None:
        await world.expire_unfinished()


@dataclass(frozen=True)
class Edit:
    which: int
    note: int

    async def take(self, world: World) -> None:
        if call := _choose(_calls(world, "live"), self.which):
            await world.edit(call, f"note {self.note} of an edit")


@dataclass(frozen=True)
class Erase:
    """
    Erase one recording, or several at the same moment, some of them twice.
    """

    which: tuple[int, ...]

    async def take(self, world: World) -> None:
        live = _calls(world, "live")
        chosen = [live[number % len(live)] for number in self.which] if live else []
        for call in dict.fromkeys(chosen):
            world.check_reached(call)
        outcomes = await asyncio.gather(
            *(world.erase_unchecked(call) for call in chosen), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


@dataclass(frozen=True)
class EraseAccount:
    user: int

    async def take(self, world: World) -> None:
        if owner := _choose(_owners(world), self.user):
            await world.erase_account(owner)


@dataclass(frozen=True)
class Leave:
    """
    A user asks to be erased, and does not take it back.
    """

    user: int

    async def take(self, world: World) -> None:
        if owner := _choose(_owners(world), self.user):
            await world.leave(owner)


@dataclass(frozen=True)
class GrowOld:
    """
    So many days pass, and what is older than a year expires.
    """

    days: int

    async def take(self, world: World) -> None:
        await world.grow_old(self.days)


@dataclass(frozen=True)
class ReplaceLookUps:
    async def take(self, world: World) -> None:
        await world.replace_look_ups()


@dataclass(frozen=True)
class Export:
    """
    Ask for an export, and have it made or not.
    """

    user: int
    include: tuple[str, ...] = ("audio", "sealed")
    is_made: bool = True

    async def take(self, world: World) -> None:
        if owner := _choose(_owners(world), self.user):
            await world.export(owner, *self.include)
            if self.is_made:
                await world.gateway.do_due_jobs()


@dataclass(frozen=True)
class EndExport:
    user: int

    async def take(self, world: World) -> None:
        if owner := _choose(_owners(world), self.user):
            await world.end_export(owner)


@dataclass(frozen=True)
class DoJobs:
    async def take(self, world: World) -> None:
        await world.gateway.do_due_jobs()


@dataclass(frozen=True)
class Restart:
    async def take(self, world: World) -> None:
        await world.restart()


@dataclass(frozen=True)
class DieAfter:
    """
    Plan the process's death for the point that comes after so many, whatever is done then.
    """

    points: int

    async def take(self, world: World) -> None:
        world.witness.die_after(self.points)


@dataclass(frozen=True)
class DieAt:
    """
    Plan the process's death for a step of the next round.
    """

    step: str

    async def take(self, world: World) -> None:
        world.witness.die_at(self.step)


@dataclass(frozen=True)
class CopyCatalog:
    async def take(self, world: World) -> None:
        await world.copy_catalog()


@dataclass(frozen=True)
class PutOldCatalogBack:
    async def take(self, world: World) -> None:
        await world.put_old_catalog_back()


@dataclass(frozen=True)
class CopyKeys:
    async def take(self, world: World) -> None:
        await world.copy_keys()


@dataclass(frozen=True)
class TryOldKeys:
    async def take(self, world: World) -> None:
        await world.try_old_keys()


_few = st.integers(0, 5)
_uploads = st.builds(Upload, _few, st.sampled_from(SIZES), st.integers(1, 2))
_begins = st.builds(Begin, _few, st.sampled_from(SIZES[1:]))
# The first of several starts a round at once, and the others share the next: three are needed for two in one round.
_erases = st.builds(
    Erase,
    st.one_of(
        st.tuples(_few),
        st.integers(3, 6).map(lambda count: tuple(range(count))),
        st.lists(_few, min_size=2, max_size=4).map(tuple),
    ),
)
_exports = st.builds(Export, _few, st.sampled_from([("audio",), ("audio", "sealed"), ()]), st.booleans())
_grows_old = st.builds(GrowOld, st.sampled_from((200, 366)))
_ends = st.one_of(_erases, _erases, _erases, st.builds(EraseAccount, _few), _grows_old)
_deaths = st.one_of(
    st.builds(DieAt, st.sampled_from(STEPS)),
    st.builds(DieAfter, st.integers(0, 40)),
    st.builds(DieAfter, _few),
)

# Some steps mean more when others follow them closely.
_phrases: st.SearchStrategy[tuple[Step, ...]] = st.one_of(
    st.tuples(_uploads),
    st.tuples(_ends),
    st.tuples(_deaths, _ends),
    st.tuples(_deaths, _uploads),
    st.tuples(_deaths, _ends, _ends),
    st.tuples(st.just(CopyCatalog()), _uploads, _ends, st.just(PutOldCatalogBack())),
    st.tuples(st.just(CopyKeys()), _ends, st.just(TryOldKeys())),
    st.tuples(_begins, st.builds(Terminate, _few)),
    st.tuples(_begins, _deaths, st.just(ExpireUnfinished())),
    st.tuples(_begins, st.builds(Finish, _few)),
    st.tuples(st.builds(Edit, _few, _few), _ends),
    st.tuples(_uploads, _deaths, st.just(GrowOld(366))),
    st.tuples(st.just(CopyCatalog()), _grows_old, _uploads, st.just(PutOldCatalogBack()), _grows_old),
    st.tuples(st.builds(EraseAccount, _few), _deaths, st.just(ReplaceLookUps())),
    st.tuples(_deaths, st.builds(Leave, _few)),
    st.tuples(_deaths, st.just(DoJobs())),
    st.tuples(_exports, _ends),
    st.tuples(_deaths, _exports),
    st.tuples(_exports, _deaths, _ends, st.just(DoJobs())),
    st.tuples(_exports, _deaths, st.builds(EndExport, _few)),
    st.tuples(_exports, st.just(CopyCatalog()), st.builds(EndExport, _few), st.just(PutOldCatalogBack())),
    st.tuples(
        st.one_of(
            st.just(DoJobs()),
            st.builds(AddUser, st.booleans()),
            st.builds(Edit, _few, _few),
            st.just(CopyCatalog()),
            st.just(PutOldCatalogBack()),
            st.just(CopyKeys()),
            st.just(TryOldKeys()),
            st.just(Restart()),
            _begins,
            _deaths,
        )
    ),
)


def _join(
    users: int,
    uploads: Sequence[Step],
    death: Sequence[Step],
    phrases: Sequence[Sequence[Step]],
    last: Sequence[Step],
) -> list[Step]:
    middle = (step for phrase in [death, *phrases] for step in phrase)
    return [*[AddUser()] * users, *uploads, *middle, *last]


# Each dies while something ends, and leaves something behind that nobody ends: without these two there is little to see.
programs: st.SearchStrategy[list[Step]] = st.builds(
    _join,
    st.integers(1, 3),
    st.lists(_uploads, min_size=1, max_size=6),
    st.tuples(_deaths, _ends),
    st.lists(_phrases, min_size=2, max_size=7),
    st.tuples(st.builds(AddUser), _uploads),
)


async def run(program: Sequence[Step], world: World) -> None:
    """
    Take all steps, then check every promise.
    """
    with world.watched():
        await world.open()
        try:
            for step in program:
                await world.survive(partial(step.take, world))
            await world.check()
        finally:
            await world.end()
