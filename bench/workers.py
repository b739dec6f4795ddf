"""
Small uploads to two gateway processes beside the same to one: what a second processor is good for.

The gateway is one process for one data directory, and refuses a second one. So two are had in two ways here: as two
installations, each with users of its own; and, as an experiment that nobody is to run in earnest, as two processes whose
data directories share the databases, the root, the spool and the blobs.
"""

import argparse
import asyncio
import contextlib
import re
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from bench.load import Outcome, send
from bench.peers import TUS_HEAD
from bench.report import Report
from tests.support.gateway import Daemon
from tests.support.postgres import running_postgres

_ROUNDS: Final = 3
_SIZE: Final = 100_000
_UPLOADS: Final = 1_600
_CONNECTIONS: Final = 16
_LEAST_TIMES: Final = 1.5
_PLACES: Final = {"disk": None, "tmpfs": "/dev/shm"}
_SHARED: Final = ("root", "spool", "blobs")
_PATIENCE_S: Final = 120


@dataclass(frozen=True, slots=True)
class _Setup:
    """
    How many processes serve, and what of.
    """

    name: str
    processes: int
    installations: int = 1
    on_postgres: bool = False


_SETUPS: Final = (
    _Setup("one on SQLite", 1),
    _Setup("two installations on SQLite", 2, installations=2),
    _Setup("two that share SQLite", 2),
    _Setup("one on PostgreSQL", 1, on_postgres=True),
    _Setup("two that share PostgreSQL", 2, on_postgres=True),
)


@dataclass(frozen=True, slots=True)
class _Sample:
    """
    One round.

    Attributes:
        rate: uploads per second.
        cpu_ms: processor time of the gateways for one upload, until all is placed.
        server_ms: the same of the database server.
        client: the share of one processor that the load generator took.
    """

    rate: float
    cpu_ms: float
    server_ms: float
    client: float


async def measure_workers(
    rounds: int = _ROUNDS, places: Sequence[str] = tuple(_PLACES), *, quick: bool = False
) -> int:
    """
    Print what two do beside one; 1 if that is less than the goal.
    """
    rounds = 1 if quick else rounds
    report = Report("workers")
    for place in places:
        samples: dict[str, list[_Sample]] = {setup.name: [] for setup in _SETUPS}
        for _ in range(rounds):
            for setup in _SETUPS:
                folder = _new_folder(place)
                try:
                    async with _serving(folder, setup) as served:
                        samples[setup.name].append(await served.measure(300 if quick else _UPLOADS))
                finally:
                    shutil.rmtree(folder)
        _tell(report, place, samples)
    return report.finish()


def _tell(report: Report, place: str, samples: dict[str, list[_Sample]]) -> None:
    rates = {name: statistics.median(sample.rate for sample in found) for name, found in samples.items()}
    for name, found in samples.items():
        every = ", ".join(f"{sample.rate:,.0f}" for sample in found)
        report.add(f"{place}: {name}", rates[name], f"uploads/s ({every})")
        cpu_ms = statistics.median(sample.cpu_ms for sample in found)
        report.add(f"{place}: {name}, CPU of the gateways", cpu_ms, "ms each")
        if server_ms := statistics.median(sample.server_ms for sample in found):
            report.add(f"{place}: {name}, CPU of the database server", server_ms, "ms each")
        client = 100 * statistics.median(sample.client for sample in found)
        report.add(f"{place}: {name}, the load generator's share of a processor", client, "%")
    for two, one in (
        ("two installations on SQLite", "one on SQLite"),
        ("two that share SQLite", "one on SQLite"),
        ("two that share PostgreSQL", "one on PostgreSQL"),
    ):
        report.add(f"{place}: {two} ÷ one", rates[two] / rates[one], "times", least=_LEAST_TIMES)


@dataclass(frozen=True, slots=True)
class _Served:
    """
    Gateways that listen, and the heads of uploads to them.
    """

    daemons: Sequence[Daemon]
    heads: Sequence[str]
    servers: Sequence[int]
    """Process ids of what serves beside them."""

    async def measure(self, uploads: int) -> _Sample:
        """
        Send small uploads, the same way whatever serves: from two generators.
        """
        await self._send(uploads // 10)
        await self._all_placed()
        gateways, servers = [daemon.pid for daemon in self.daemons], self.servers
        before, servers_before = _cpu_seconds(gateways), _cpu_seconds(servers)
        outcomes = await self._send(uploads)
        seconds = max(outcome.seconds for outcome in outcomes)
        await self._all_placed()
        return _Sample(
            rate=uploads / seconds,
            cpu_ms=1000 * (_cpu_seconds(gateways) - before) / uploads,
            server_ms=1000 * (_cpu_seconds(servers) - servers_before) / uploads,
            client=sum(outcome.cpu_seconds for outcome in outcomes) / seconds,
        )

    async def _send(self, uploads: int) -> list[Outcome]:
        two = [number % len(self.daemons) for number in range(2)]
        return await asyncio.gather(
            *[
                asyncio.to_thread(
                    send,
                    int(self.daemons[number].url.rpartition(":")[2]),
                    self.heads[number],
                    requests=uploads // 2,
                    connections=_CONNECTIONS // 2,
                    body_bytes=_SIZE,
                )
                for number in two
            ]
        )

    async def _all_placed(self) -> None:
        """
        Wait until the gateways have no job left.
        """
        async with asyncio.timeout(_PATIENCE_S), aiohttp.ClientSession() as http:
            for daemon in self.daemons:
                while True:
                    async with http.get(f"{daemon.url}/metrics") as answer:
                        if not re.search(r"^gateway_jobs{.*} [1-9]", await answer.text(), re.MULTILINE):
                            break
                    await asyncio.sleep(0.2)


def _cpu_seconds(pids: Sequence[int]) -> float:
    """
    Return what these processes and their children have taken so far.
    """
    total = 0.0
    for pid in pids:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
    return total


@asynccontextmanager
async def _serving(folder: Path, setup: _Setup) -> AsyncIterator[_Served]:
    with contextlib.ExitStack() as stack:
        environment = {
            "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true",
            "GATEWAY_LOG__LEVEL": "warning",
            "GATEWAY_UPLOADS__MAX_OPEN_PER_USER": "100000",
        }
        servers = []
        if setup.on_postgres:
            postgres = stack.enter_context(running_postgres(durable=True, parent=folder))
            servers.append(postgres.pid)
            url = postgres.create_database()
            environment |= {"GATEWAY_DATA__CATALOG_URL": url, "GATEWAY_DATA__KEYS_URL": url}
        daemons: list[Daemon] = []
        heads: list[str] = []
        for number in range(setup.processes):
            data_dir = folder / f"data-{number}"
            if number and setup.installations == 1:
                _share(daemons[0].data_dir, data_dir)
                if not setup.on_postgres:
                    first = daemons[0].data_dir
                    environment = {
                        **environment,
                        "GATEWAY_DATA__CATALOG_URL": f"sqlite:///{first / 'catalog.db'}",
                        "GATEWAY_DATA__KEYS_URL": f"sqlite:///{first / 'keys.db'}",
                    }
            daemon = Daemon(data_dir, environment=environment)
            stack.callback(daemon.kill)
            await daemon.start()
            daemons.append(daemon)
            if number < setup.installations:
                _, auth = daemon.new_user()
                heads.append(
                    TUS_HEAD.format(
                        path="/v1/uploads", extra=f"Authorization: {auth['Authorization']}\n", size=_SIZE
                    )
                )
            else:
                heads.append(heads[0])
        yield _Served(daemons, heads, servers)


def _new_folder(place: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-", dir=_PLACES[place]))
    # PostgreSQL has an account of its own.
    folder.chmod(0o755)
    return folder


def _share(first: Path, second: Path) -> None:
    """
    Make a data directory that has everything but the lock and the node's name in common with the first.
    """
    second.mkdir(mode=0o700)
    for name in _SHARED:
        (second / name).symlink_to(first / name)


def main() -> None:
    """
    Measure some of it: ``python -m bench.workers --place disk --rounds 5``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--place", action="append", choices=list(_PLACES))
    asked = parser.parse_args()
    asyncio.run(measure_workers(asked.rounds, asked.place or tuple(_PLACES)))


if __name__ == "__main__":
    main()
