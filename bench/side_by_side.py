"""
The gateway beside what people would use without it: the same work, in one run, on the same disk and in memory.

Rounds are interleaved, so that what the machine does meanwhile meets all alike; what is compared are medians.
Every server starts anew in each round, in a fresh folder. On disk nothing is deleted before the end: making files beside
recently deleted ones is many times slower on some file systems.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from bench import peers
from bench.load import NoLoad, Outcome, send
from bench.peers import NoPeer, Peer

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
_ROUNDS: Final = 3
_RANGE: Final = 64 * 1024
_STORED: Final = 256 * MIB

Start = Callable[[Path], AbstractContextManager[Peer]]

PEERS: Final[dict[str, Start]] = {
    "gateway": peers.gateway,
    "aiohttp sink": peers.sink,
    "aiohttp file + fsync": peers.plaintext,
    "nginx DAV": peers.nginx,
    "@tus/server": peers.tus_server,
    "rclone crypt": peers.rclone,
    "rclone crypt, no checksum": partial(peers.rclone, checks=False),
}
TMPFS_PEERS: Final = ("gateway", "aiohttp sink", "@tus/server")


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One workload, once.

    Attributes:
        rate: MiB per second, or requests per second.
        cpu: what the server took until it was idle again, in seconds per GiB, or per 1,000 requests.
        client: the share of the time that the load generator was busy; near 1 it would be the bottleneck.
        first_byte_ms: the median.
    """

    rate: float
    cpu: float
    client: float
    first_byte_ms: float


@dataclass(frozen=True, slots=True)
class Workload:
    """
    One kind of work.
    """

    name: str
    unit: str
    run: Callable[[Peer], tuple[Outcome, float]]
    is_small: bool = False


def _upload(size: int, count: int, connections: int) -> Callable[[Peer], tuple[Outcome, float]]:
    def run(peer: Peer) -> tuple[Outcome, float]:
        outcome = send(peer.port, peer.upload(size), requests=count, connections=connections, body_bytes=size)
        began = time.monotonic()
        peer.settle()
        return outcome, time.monotonic() - began

    return run


def _download(peer: Peer) -> tuple[Outcome, float]:
    assert peer.download is not None
    assert peer.stored is not None
    head = peer.download(peer.stored(_STORED), "")
    send(peer.port, head)
    return send(peer.port, head, requests=4), 0.0


def _ranges(peer: Peer) -> tuple[Outcome, float]:
    assert peer.download is not None
    assert peer.stored is not None
    head = peer.download(peer.stored(_STORED), "Range: bytes={range}\n")
    work = partial(send, peer.port, head, connections=8, file_bytes=_STORED, range_bytes=_RANGE)
    work(requests=200)
    return work(requests=4000), 0.0


WORKLOADS: Final = (
    Workload("large", "MiB/s", _upload(GIB, 1, 1)),
    Workload("small", "uploads/s", _upload(100_000, 4000, 16), is_small=True),
    Workload("5 MB x 8", "MiB/s", _upload(5_000_000, 200, 8)),
    Workload("download", "MiB/s", _download),
    Workload("ranges", "ranges/s", _ranges, is_small=True),
)


def measure(peer: Peer, workload: Workload) -> Sample:
    """
    Run *workload* once.

    Raises:
        NoLoad: a request was refused.
    """
    cpu = peer.cpu_seconds()
    outcome, settling = workload.run(peer)
    seconds = outcome.seconds + settling
    _wait_until_idle(peer)
    cpu = peer.cpu_seconds() - cpu
    size = outcome.sent_bytes or outcome.received_bytes
    return Sample(
        rate=outcome.requests / seconds if workload.is_small else size / MIB / seconds,
        cpu=cpu / outcome.requests * 1000 if workload.is_small else cpu / (size / GIB),
        client=outcome.cpu_seconds / outcome.seconds,
        first_byte_ms=outcome.first_byte_ms["p50"],
    )


def _wait_until_idle(peer: Peer) -> None:
    """
    Wait for what a server still does in the background, for a minute at most.
    """
    deadline = time.monotonic() + 60
    while peer.is_busy() and time.monotonic() < deadline:
        pass


def _warm_up(peer: Peer) -> None:
    send(peer.port, peer.upload(MIB), requests=20, connections=4, body_bytes=MIB)
    # Node compiles what it has run often; the others have nothing to gain.
    many = 3000 if peer.name == "@tus/server" else 300
    send(peer.port, peer.upload(1000), requests=many, connections=16, body_bytes=1000)
    _wait_until_idle(peer)


@contextlib.contextmanager
def _places() -> Iterator[dict[str, Path]]:
    disk = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    memory = Path(tempfile.mkdtemp(prefix="gateway-bench-", dir="/dev/shm"))
    try:
        yield {"disk": disk, "tmpfs": memory}
    finally:
        shutil.rmtree(memory)
        shutil.rmtree(disk)


Samples = dict[tuple[str, str, str], list[Sample]]


def collect(rounds: int, *, names: tuple[str, ...] = tuple(PEERS), only: tuple[str, ...] = ()) -> Samples:
    """
    Run everything *rounds* times; return the samples by place, workload and peer.
    """
    samples: Samples = defaultdict(list)
    missing: set[str] = set()
    with _places() as places:
        _fill_page_cache(places["disk"])
        for number in range(rounds):
            for place, root in places.items():
                for name in names:
                    if name in missing or (place == "tmpfs" and name not in TMPFS_PEERS):
                        continue
                    folder = root / f"{number}-{name.replace('/', '-').replace(' ', '-')}"
                    folder.mkdir()
                    try:
                        with PEERS[name](folder) as peer:
                            _warm_up(peer)
                            for workload in WORKLOADS:
                                if only and workload.name not in only:
                                    continue
                                if workload.name in ("download", "ranges") and peer.stored is None:
                                    continue
                                sample = measure(peer, workload)
                                samples[place, workload.name, name].append(sample)
                                print(
                                    f"  round {number + 1}, {place}, {name}, {workload.name}: "
                                    f"{sample.rate:,.0f} {workload.unit}",
                                    file=sys.stderr,
                                )
                    except NoPeer as error:
                        missing.add(name)
                        print(f"{name} is left out: {error}", file=sys.stderr)
                    except NoLoad as error:
                        missing.add(name)
                        print(f"{name} is left out from here: {error}", file=sys.stderr)
                    if place == "tmpfs":
                        shutil.rmtree(folder)
                    else:
                        _leave_page_cache(folder)
    return samples


def _fill_page_cache(folder: Path) -> None:
    """
    Write once what the run will write: on a virtual machine the first use of each page of memory is dear.
    """
    with (folder / "filling").open("wb") as file:
        for _ in range(6 * 1024):
            file.write(bytes(MIB))
    _leave_page_cache(folder)


def _leave_page_cache(folder: Path) -> None:
    """
    Have what was written to the disk leave memory: whoever comes next would have to make room first.
    """
    subprocess.run(["sync", "-f", str(folder)], check=True)
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def table(samples: Samples) -> str:
    """
    Return medians, spread, CPU and the generator's share as text.
    """
    lines = []
    for place in ("disk", "tmpfs"):
        for workload in WORKLOADS:
            rows = {name: found for name in PEERS if (found := samples.get((place, workload.name, name)))}
            if not rows:
                continue
            per = "1,000" if workload.is_small else "GiB"
            lines.append(f"\n{workload.name}, {place}")
            lines.append(
                f"{'':28}{workload.unit:>12}{'spread':>16}{'CPU s/' + per:>14}{'first byte ms':>15}{'client':>8}"
                f"{'gateway ÷':>11}"
            )
            ours = median(rows.get("gateway", []))
            for name, found in rows.items():
                rates = [sample.rate for sample in found]
                ratio = f"{ours / median(found):.2f}" if ours and name != "gateway" else ""
                lines.append(
                    f"{name:28}{median(found):12,.0f}{f'{min(rates):,.0f}-{max(rates):,.0f}':>16}"
                    f"{statistics.median(sample.cpu for sample in found):14.2f}"
                    f"{statistics.median(sample.first_byte_ms for sample in found):15.2f}"
                    f"{statistics.median(sample.client for sample in found):8.0%}{ratio:>11}"
                )
    return "\n".join(lines)


def median(samples: list[Sample]) -> float:
    """
    Return the median rate, 0 of nothing.
    """
    return statistics.median(sample.rate for sample in samples) if samples else 0.0


def write_json(samples: Samples, path: Path) -> None:
    """
    Write every sample.
    """
    told = [
        {"place": place, "workload": workload, "peer": name, "samples": [asdict(sample) for sample in found]}
        for (place, workload, name), found in samples.items()
    ]
    path.write_text(json.dumps(told, indent=1) + "\n")


async def measure_side_by_side(*, quick: bool = False) -> int:
    """
    Run everything, print the tables, and write them as JSON and as a picture; *quick*: small uploads, once.
    """
    samples = await asyncio.to_thread(collect, 1 if quick else _ROUNDS, only=("small",) if quick else ())
    print(table(samples))
    folder = Path(tempfile.gettempdir())
    write_json(samples, folder / "gateway-bench.json")
    plot(samples, folder / "gateway-bench.svg")
    print(f"\nEvery sample is in {folder}/gateway-bench.json, a picture in {folder}/gateway-bench.svg.")
    return 0


def plot(samples: Samples, path: Path) -> None:
    """
    Draw the medians of each workload as bars, the longest one as wide as the picture.
    """
    lines, y = [], 20
    for place in ("disk", "tmpfs"):
        for workload in WORKLOADS:
            rows = {name: found for name in PEERS if (found := samples.get((place, workload.name, name)))}
            if not rows:
                continue
            longest = max(median(found) for found in rows.values())
            lines.append(f'<text x="10" y="{y}" font-weight="bold">{workload.name}, {place}</text>')
            for name, found in rows.items():
                y += 20
                width = 400 * median(found) / longest
                colour = "#0a6" if name == "gateway" else "#89a"
                lines.append(
                    f'<text x="10" y="{y}">{escape(name)}</text>'
                    f'<rect x="200" y="{y - 12}" width="{width:.1f}" height="14" fill="{colour}"/>'
                    f'<text x="{210 + width:.1f}" y="{y}">{median(found):,.0f} {workload.unit}</text>'
                )
            y += 34
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{y}" font-family="sans-serif" font-size="13">'
        + "".join(lines)
        + "</svg>\n"
    )


def main() -> None:
    """
    Run some of it: ``python -m bench.side_by_side --peer gateway --workload small``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--peer", action="append", choices=list(PEERS))
    parser.add_argument("--workload", action="append", choices=[workload.name for workload in WORKLOADS])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    samples = collect(asked.rounds, names=tuple(asked.peer or PEERS), only=tuple(asked.workload or ()))
    print(table(samples))
    if asked.json:
        write_json(samples, asked.json)


if __name__ == "__main__":
    main()
