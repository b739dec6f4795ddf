"""
What the real S3 stores for tests have in common: how they are looked at, where they listen, and that they end with the test.
"""

import contextlib
import functools
import itertools
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_TIMEOUT_S: Final = 60

# Kills the servers when the test process says goodbye or is gone, and removes their folder.
_WATCHER: Final = """
read goodbye
folder=$1
shift
kill -KILL "$@"
for pid in "$@"; do
  while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do sleep 0.05; done
done
rm -rf "$folder"
"""


class NoStore(RuntimeError):
    """
    A store could not be started; the message holds the end of its log.
    """


@functools.cache
def _session() -> botocore.session.Session:
    # What it reads of its own files at the first client costs more than most tests.
    return botocore.session.Session()


@dataclass(frozen=True)
class S3Store:
    """
    A running store, and who may use it.
    """

    port: int
    access_key_id: str
    secret_access_key: str = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _shared: dict[bool, str] = field(default_factory=dict, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """
        Return a blocking client of the vendor's own library, for looking at what a plugin did.
        """
        config = Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return _session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=config,
        )

    def shared_bucket(self, *, versioned: bool = False) -> str:
        """
        Return the bucket for tests that keep to a prefix of their own: on some stores one more costs more each time.
        """
        if versioned not in self._shared:
            self._shared[versioned] = self.create_bucket(versioned=versioned)
        return self._shared[versioned]

    def create_bucket(self, *, versioned: bool = False) -> str:
        """
        Create an empty bucket and return its name.
        """
        client = self.client()
        name = f"bucket-{next(self._numbers)}"
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        client.close()
        return name

    def wait_until_ready(self, servers: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
        """
        Wait until something can be stored: ports open long before that.

        Raises:
            NoStore: it took too long, or a server ended.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        client = self.client()
        try:
            while True:
                try:
                    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                        client.create_bucket(Bucket="ready")
                    client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                    return
                except (BotoCoreError, ClientError) as exc:
                    ended = any(server.poll() is not None for server in servers)
                    if ended or time.monotonic() > deadline:
                        end = log.read_text(errors="replace")[-4000:]
                        raise NoStore(f"The store did not become ready ({exc}):\n{end}") from exc
                with contextlib.suppress(subprocess.TimeoutExpired):
                    servers[0].wait(timeout=0.1)
        finally:
            client.close()


@contextlib.contextmanager
def killed_with_us(servers: Sequence[subprocess.Popen[bytes]], folder: Path) -> Iterator[None]:
    """
    On leaving, or when this process dies before that, kill *servers* and remove *folder*.
    """
    watcher = subprocess.Popen(
        ["sh", "-c", _WATCHER, "watcher", str(folder), *(str(server.pid) for server in servers)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        watcher.communicate(b"goodbye\n")
        for server in servers:
            server.wait()


def free_ports(count: int, *, apart: int = 0) -> list[int]:
    """
    Return so many ports on which nobody listens, nor on those *apart* above them.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = held.enter_context(_listening(0)).getsockname()[1]
            if apart:
                if port + apart > 65_535:
                    continue
                try:
                    held.enter_context(_listening(port + apart))
                except OSError:
                    continue
            found.append(port)
    return found


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener
