"""
The load generator: compiled when first asked for, and run.
"""

import atexit
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

_SOURCE: Final = Path(__file__).with_name("load.c")
_TIMEOUT_S: Final = 900


class NoLoad(Exception):
    """
    The generator can't be had, or what it asked for was refused; the message says which.
    """


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What one run did.

    Attributes:
        seconds: from the first request to the last answer.
        cpu_seconds: what the generator itself took of them.
        first_byte_ms: how long answers took to begin: p50, p90, p99, max.
        whole_ms: how long they took to end.
    """

    requests: int
    seconds: float
    cpu_seconds: float
    sent_bytes: int
    received_bytes: int
    first_byte_ms: dict[str, float]
    whole_ms: dict[str, float]


@cache
def _program() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gateway-load-"))
    atexit.register(shutil.rmtree, folder)
    program = folder / "load"
    try:
        subprocess.run(["cc", "-O2", "-o", program, _SOURCE], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoLoad("there is no C compiler (cc) to build the load generator with") from None
    except subprocess.CalledProcessError as error:
        raise NoLoad(f"the load generator does not compile:\n{error.stderr}") from error
    return program


def send(
    port: int,
    head: str,
    *,
    requests: int = 1,
    connections: int = 1,
    body_bytes: int = 0,
    file_bytes: int = 0,
    range_bytes: int = 0,
) -> Outcome:
    """
    Send so many requests of *head* (see ``load.c``), each with a body of so many bytes.

    Raises:
        NoLoad: one was not answered with 2xx.
    """
    with tempfile.NamedTemporaryFile("w", prefix="gateway-head-", newline="") as file:
        file.write(head.replace("\n", "\r\n"))
        file.flush()
        numbers: list[Any] = [port, min(connections, requests), requests, body_bytes, file.name]
        if range_bytes:
            numbers += [file_bytes, range_bytes]
        done = subprocess.run(
            [_program(), *map(str, numbers)], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    if done.returncode:
        raise NoLoad(f"a request failed:\n{done.stderr}")
    told = json.loads(done.stdout)
    del told["failed"]
    return Outcome(**told)
