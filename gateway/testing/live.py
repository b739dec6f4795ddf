"""
Runs the suites against a live place that may hold other blobs, and leaves nothing there.

The tests run under pytest, which is told to print nothing and to read no configuration.
They are in `gateway.testing.live_suites`, which only pytest may import: it shows what differed in those it has prepared.
"""

import asyncio
import signal
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import pytest

from gateway.api import Backend, BackendError, BlobKey
from gateway.testing import SUITES
from gateway.testing.among import Traces

Connect = Callable[[], AbstractAsyncContextManager[Backend]]
Opening = Callable[[], AbstractAsyncContextManager[Connect]]
"""
Makes ready what connections need; entered in the event loop that they are then made in, and left in it.

Called several times, each time in another loop.
"""

_LONGEST_REASON: Final = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How one test ended.
    """

    test: str
    case: str
    """Which of its cases it was, such as a size; empty where there is one."""

    seconds: float
    reason: str | None
    """Why it failed; None if it passed."""

    @property
    def promise(self) -> str:
        """
        The fact that the test states, in words.
        """
        return self.test.removeprefix("test_").replace("_", " ")


@dataclass(kw_only=True)
class Result:
    """
    What a check found.
    """

    held: int
    """Blobs that were there before."""

    is_resumable: bool
    is_complete: bool
    """Whether every test was run."""

    outcomes: list[Outcome]
    appeared: int
    """Blobs that were there afterwards, and neither before nor put by the check."""

    @property
    def is_good(self) -> bool:
        """
        Whether every promise was kept.
        """
        return self.is_complete and all(outcome.reason is None for outcome in self.outcomes)


class Watch(Protocol):
    """
    Hears how a check comes along.
    """

    def begun(self, tests: int) -> None:
        """
        There are so many tests to run.
        """
        ...

    def ended(self, outcome: Outcome) -> None:
        """
        One more has been run.
        """
        ...


@dataclass
class LiveCheck:
    """
    What the tests of one check share; a plugin of pytest.
    """

    opening: Opening
    watch: Watch
    traces: Traces = field(default_factory=Traces)
    outcomes: list[Outcome] = field(default_factory=list)
    tests: int = 0
    is_interrupted: bool = False
    """Ctrl-C was pressed: no other test begins."""
    _reasons: dict[str, str] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)

    def pytest_configure(self, config: pytest.Config) -> None:
        """
        Hand this check to the tests, and have failures show what differed.
        """
        config.stash[CHECK] = self
        # Once more: the first time nobody was there to hear of it.
        pytest.register_assert_rewrite(*(f"gateway.testing.{suite}" for suite in SUITES))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """
        Tell how much there is to do.
        """
        self.tests = len(session.items)
        self.watch.begun(self.tests)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """
        Note the first thing that went wrong with a test, and tell when it has ended.
        """
        report = yield
        self._seconds[item.nodeid] = self._seconds.get(item.nodeid, 0.0) + call.duration
        if report.failed and call.excinfo is not None:
            self._reasons.setdefault(item.nodeid, call.excinfo.exconly(tryshort=True)[:_LONGEST_REASON])
        if call.when == "teardown":
            test, _, case = item.name.partition("[")
            outcome = Outcome(
                test, case.removesuffix("]"), self._seconds[item.nodeid], self._reasons.get(item.nodeid)
            )
            self.outcomes.append(outcome)
            self.watch.ended(outcome)
            if self.is_interrupted:
                item.session.shouldstop = "interrupted"
        return report


CHECK: Final = pytest.StashKey[LiveCheck]()


def check_place(opening: Opening, watch: Watch, *, is_small: bool = False) -> Result:
    """
    Run the suites at the place that *opening* leads to; *is_small* puts less data.

    Blobs of others are neither shown to the tests nor touched. Every blob that the check put is removed, also after Ctrl-C:
    the first ends the check after the test that is running, the second ends that as well.

    Raises:
        BackendError: there is no connecting, or something that was put could not be removed.
    """
    is_resumable, before = asyncio.run(_look(opening))
    check = LiveCheck(opening, watch)
    suites = ["Place", "Parts"] if is_resumable else ["Place"]
    suites = [f"Test{suite}{'WithSmallData' if is_small else ''}" for suite in suites]
    status: int = pytest.ExitCode.INTERRUPTED
    try:
        with _heeding_interrupts(check):
            status = _run_pytest(check, suites)
    except (KeyboardInterrupt, RuntimeError):
        # What pytest has still to take down when it is torn out of a test may fail, as its event loop has stopped.
        if not check.is_interrupted:
            raise
    finally:
        appeared = asyncio.run(_clear(check, before))
    return Result(
        held=len(before),
        is_resumable=is_resumable,
        is_complete=status in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
        and len(check.outcomes) == check.tests > 0,
        outcomes=check.outcomes,
        appeared=appeared,
    )


@contextmanager
def _heeding_interrupts(check: LiveCheck) -> Iterator[None]:
    """
    Have the first Ctrl-C noted and no more, wherever it comes: torn out of its event loop, a test would lose what it holds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: object) -> None:
        check.is_interrupted = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_pytest(check: LiveCheck, suites: list[str]) -> int:
    file = Path(__file__).with_name("live_suites.py")
    with tempfile.TemporaryDirectory(prefix="gateway-check-") as folder:
        # A configuration of its own, so that none is looked for in the folders above.
        configuration = Path(folder) / "pytest.ini"
        configuration.write_text("[pytest]\n")
        return pytest.main(
            [
                *(f"{file}::{suite}" for suite in suites),
                *("-c", str(configuration), "--rootdir", folder, "--noconftest", "--import-mode=importlib"),
                *("--disable-plugin-autoload", "-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"),
                # One loop for all, so that what a connection needs is made ready once.
                *("-o", "asyncio_default_fixture_loop_scope=session"),
                *("-o", "asyncio_default_test_loop_scope=session"),
                *("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:logging", "--capture=no"),
                *("--basetemp", str(Path(folder) / "files")),
            ],
            plugins=[check],
        )


async def _look(opening: Opening) -> tuple[bool, set[BlobKey]]:
    """
    Return whether puts in parts are offered, and which blobs there are.
    """
    async with opening() as connect, connect() as backend:
        return backend.resumable is not None, {blob.ref.key async for blob in backend.scan()}


async def _clear(check: LiveCheck, before: set[BlobKey]) -> int:
    """
    Remove what a test could not remove itself; return how many blobs appeared that nobody accounts for.
    """
    put = set(check.traces.put)
    async with check.opening() as connect, connect() as backend:
        try:
            await check.traces.remove(backend)
        except BackendError as exc:
            left = ", ".join(sorted(check.traces.keys))
            raise BackendError(f"Blobs of this check could not be removed: {left} ({exc})") from exc
        return sum([1 async for blob in backend.scan() if blob.ref.key not in before | put])
