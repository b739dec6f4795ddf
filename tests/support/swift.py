"""
Another real S3 store for tests: OpenStack Swift with its S3 API, from the wheel `swift`.

One proxy and three storage servers on loopback ports, with one device and one replica.
Their configuration and everything they keep lie in a folder of their own, which goes with them;
there is no memcached, and nothing is read from ``/etc``.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.s3_store import NoStore, S3Store, free_ports, killed_with_us

ACCESS_KEY_ID: Final = "test:tester"
SECRET_ACCESS_KEY: Final = "testing"
_STORAGE: Final = ("account", "container", "object")

# Versions need symlinks; parts need large objects in segments.
_PIPELINE: Final = (
    "catch_errors",
    "gatekeeper",
    "listing_formats",
    "s3api",
    "tempauth",
    "bulk",
    "copy",
    "slo",
    "dlo",
    "versioned_writes",
    "symlink",
)

# By default parts are removed some time after their object, by one more daemon that does not run here.
_OPTIONS: Final = {
    "s3api": "s3_acl = false\nlocation = us-east-1\n",
    "slo": "allow_async_delete = false\n",
    "tempauth": "user_test_tester = testing .admin\n",
    "versioned_writes": "allow_object_versioning = true\n",
}

# The program for it takes nine runs to make three rings.
_RINGS: Final = """
import sys
from swift.common.ring import RingBuilder
for pair in sys.argv[1:]:
    name, port = pair.split("=")
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    place = {"ip": "127.0.0.1", "port": int(port), "device": "disk"}
    builder.add_dev({"region": 1, "zone": 1, "weight": 1.0, "meta": "", **place})
    builder.rebalance()
    builder.get_ring().save(name + ".ring.gz")
"""


@dataclass(frozen=True)
class Swift(S3Store):
    """
    A running Swift.
    """

    folder: Path = field(kw_only=True)

    def segments(self, bucket: str) -> int:
        """
        Return how many parts Swift keeps for *bucket*, in a container that S3 does not show.
        """
        mark = f"/{bucket}+segments/".encode()
        stored = (self.folder / "devices").glob("**/*.data")
        # What makes an upload an upload is an object there too; only parts have bytes.
        return sum(
            mark in os.getxattr(file, "user.swift.metadata") for file in stored if file.stat().st_size > 0
        )


@contextlib.contextmanager
def running_swift() -> Iterator[Swift]:
    """
    Start a store with nothing in it; kill it on leaving.
    """
    programs = Path(sys.executable).parent
    if not (programs / "swift-proxy-server").exists():
        raise NoStore("There is no program swift-proxy-server; it comes with the wheel swift.")
    folder = Path(tempfile.mkdtemp(prefix="swift-"))
    try:
        proxy, *storage = free_ports(1 + len(_STORAGE))
        ports = dict(zip(_STORAGE, storage, strict=True))
        environment = _environment(folder)
        _configure(folder, proxy, ports)
        rings = [f"{name}={port}" for name, port in ports.items()]
        subprocess.run([sys.executable, "-c", _RINGS, *rings], cwd=folder, env=environment, check=True)
        log = folder / "log"
        with log.open("wb") as output, contextlib.ExitStack() as stack:
            servers = [
                subprocess.Popen(
                    [programs / f"swift-{name}-server", folder / f"{name}.conf", "--verbose"],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                for name in (*_STORAGE, "proxy")
            ]
            stack.enter_context(killed_with_us(servers, folder))
            store = Swift(proxy, ACCESS_KEY_ID, SECRET_ACCESS_KEY, folder=folder)
            store.wait_until_ready(servers, log)
            yield store
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, proxy: int, ports: dict[str, int]) -> None:
    (folder / "devices" / "disk").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n"
        "[storage-policy:0]\nname = one\ndefault = yes\npolicy_type = replication\n"
    )
    for name, port in ports.items():
        (folder / f"{name}.conf").write_text(
            _server(folder, name, port)
            + f"[pipeline:main]\npipeline = {name}-server\n"
            + f"[app:{name}-server]\nuse = egg:swift#{name}\n"
        )
    filters = "".join(
        f"[filter:{name}]\nuse = egg:swift#{name}\n{_OPTIONS.get(name, '')}" for name in _PIPELINE
    )
    (folder / "proxy.conf").write_text(
        _server(folder, "proxy", proxy)
        + f"[pipeline:main]\npipeline = {' '.join(_PIPELINE)} proxy-server\n"
        + "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
        + filters
    )


def _server(folder: Path, name: str, port: int) -> str:
    # No workers: nothing is forked, so the process that was started is the one to kill.
    return (
        "[DEFAULT]\n"
        f"swift_dir = {folder}\n"
        f"devices = {folder / 'devices'}\n"
        "mount_check = false\n"
        "fallocate_reserve = 0\n"
        "bind_ip = 127.0.0.1\n"
        f"bind_port = {port}\n"
        "workers = 0\n"
        f"user = {pwd.getpwuid(os.getuid()).pw_name}\n"
        f"log_name = {name}\n"
        "log_level = WARNING\n"
    )


def _environment(folder: Path) -> dict[str, str]:
    # Nothing of how the tests themselves are run; and eventlet warns that its time is over.
    return {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C.UTF-8", "PYTHONWARNINGS": "ignore"}
