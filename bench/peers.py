"""
The gateway and the servers that are measured beside it, each started on a loopback port with its files in a folder.

None of the others seals under a user's own key, keeps a catalog, or makes bytes durable before it answers, unless its
line says so: they are what people would use without.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from gateway.settings import passed_environment
from tests.support.gateway import Daemon
from tests.support.s3_store import free_ports

_JS: Final = Path(__file__).with_name("js")
_START_TIMEOUT_S: Final = 60
TUS_HEAD: Final = """\
POST {path} HTTP/1.1
Host: 127.0.0.1
{extra}Tus-Resumable: 1.0.0
Upload-Length: {size}
Upload-Metadata: filename Y2FsbC5vcHVz,filetype YXVkaW8vb2dn
Content-Type: application/offset+octet-stream
Content-Length: {size}

"""
_PUT_HEAD: Final = """\
PUT {path} HTTP/1.1
Host: 127.0.0.1
{extra}Content-Type: application/octet-stream
Content-Length: {size}

"""
_GET_HEAD: Final = """\
GET {path} HTTP/1.1
Host: 127.0.0.1
{extra}
"""


class NoPeer(Exception):
    """
    A peer can't be had here; the message says what is missing.
    """


@dataclass(frozen=True, slots=True)
class Peer:
    """
    A running server.

    Attributes:
        upload: makes the head of an upload of so many bytes, for `bench.load`.
        download: makes the head of a download of what lies under a path; a header may be added.
        stored: makes the path of a file of so many bytes that can be downloaded, storing it first.
        settle: done before the clock stops, where the answer alone promises less than others'.
    """

    name: str
    pid: int
    port: int
    folder: Path
    upload: Callable[[int], str]
    download: Callable[[str, str], str] | None = None
    stored: Callable[[int], str] | None = None
    settle: Callable[[], None] = lambda: None

    def cpu_seconds(self) -> float:
        """
        Return what the server and its children have taken so far, user and system.
        """
        root = psutil.Process(self.pid)
        total = 0.0
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def is_busy(self) -> bool:
        """
        Tell whether it took more than a fiftieth of a core over the last half of a second.
        """
        before = self.cpu_seconds()
        time.sleep(0.5)  # noqa: TID251 - it is a rate that is asked for
        return self.cpu_seconds() - before > 0.01


@contextmanager
def gateway(
    folder: Path, *, environment: dict[str, str] | None = None, name: str = "gateway"
) -> Iterator[Peer]:
    """
    Start the gateway as it is served in earnest.
    """
    daemon = Daemon(
        folder / "data",
        environment={
            "GATEWAY_HARDENING__SCRUB_FREED_MEMORY": "true",
            "GATEWAY_LOG__LEVEL": "warning",
            "GATEWAY_UPLOADS__MAX_LENGTH": str(2**40),
            **(environment or {}),
        },
    )
    asyncio.run(daemon.start())
    try:
        _, auth = daemon.new_user()
        extra = f"Authorization: {auth['Authorization']}\n"
        port = int(daemon.url.rpartition(":")[2])

        def upload(size: int) -> str:
            return TUS_HEAD.format(path="/v1/uploads", extra=extra, size=size)

        def stored(size: int) -> str:
            request = urllib.request.Request(
                f"{daemon.url}/v1/uploads",
                data=os.urandom(size),
                method="POST",
                headers={
                    **auth,
                    "Tus-Resumable": "1.0.0",
                    "Upload-Length": str(size),
                    "Content-Type": "application/offset+octet-stream",
                },
            )
            with urllib.request.urlopen(request) as answer:
                location: str = answer.headers["Location"]
            return f"/v1/recordings/{location.rpartition('/')[2]}/audio"

        def download(path: str, header: str) -> str:
            return _GET_HEAD.format(path=path, extra=extra + header)

        yield Peer(name, daemon.pid, port, folder, upload, download, stored)
    finally:
        daemon.kill()


@contextmanager
def sink(folder: Path) -> Iterator[Peer]:
    """
    Start aiohttp with uvloop, dropping every byte.
    """
    with _python("sink", folder) as (process, port):
        yield Peer(
            "aiohttp sink",
            process.pid,
            port,
            folder,
            lambda size: TUS_HEAD.format(path="/sink", extra="", size=size),
            _get,
            lambda size: f"/zeros/{size}",
        )


@contextmanager
def plaintext(folder: Path) -> Iterator[Peer]:
    """
    Start aiohttp with uvloop, writing each body to a file and making it durable.
    """
    with _python("file", folder) as (process, port):
        yield Peer("aiohttp file + fsync", process.pid, port, folder, _put("/file-{n}"))


@contextmanager
def nginx(folder: Path) -> Iterator[Peer]:
    """
    Start nginx, storing PUT bodies as files; the clock stops only after a sync.
    """
    program = shutil.which("nginx", path=f"{passed_environment().get('PATH', '')}:/usr/sbin")
    if program is None:
        raise NoPeer("there is no program nginx")
    port = free_ports(1)[0]
    # No tcp_nopush: on loopback it would add 40 ms to each range.
    (folder / "nginx.conf").write_text(
        f"""
        worker_processes 1;
        daemon off;
        pid {folder}/nginx.pid;
        error_log {folder}/error.log;
        events {{ worker_connections 1024; }}
        http {{
          access_log off;
          sendfile on;
          client_max_body_size 0;
          keepalive_requests 1000000;
          client_body_temp_path {folder}/body;
          proxy_temp_path {folder}/t1; fastcgi_temp_path {folder}/t2; uwsgi_temp_path {folder}/t3; scgi_temp_path {folder}/t4;
          server {{
            listen 127.0.0.1:{port};
            root {folder}/files;
            location / {{ dav_methods PUT; create_full_put_path on; dav_access user:rw; }}
          }}
        }}
        """
    )
    (folder / "files").mkdir()
    if os.geteuid() == 0:
        with (folder / "nginx.conf").open("a") as config:
            config.write("user root;\n")
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with _process(command, folder) as process:
        _wait_for_port(port, process)

        def stored(size: int) -> str:
            (folder / "files" / "stored").write_bytes(os.urandom(size))
            return "/stored"

        yield Peer(
            "nginx DAV",
            process.pid,
            port,
            folder,
            _put("/file-{n}"),
            _get,
            stored,
            settle=lambda: _sync(folder),
        )


@contextmanager
def tus_server(folder: Path) -> Iterator[Peer]:
    """
    Start ``@tus/server`` with its own file store.
    """
    node = shutil.which("node")
    if node is None or not (_JS / "node_modules").exists():
        raise NoPeer("there is no Node, or its packages are not installed")
    (folder / "files").mkdir()
    with _process([node, "tus_server.mjs", str(folder / "files")], _JS) as process:
        port = int(_first_line(process))
        yield Peer(
            "@tus/server",
            process.pid,
            port,
            folder,
            lambda size: TUS_HEAD.format(path="/files", extra="", size=size),
        )


@contextmanager
def rclone(folder: Path, *, checks: bool = True) -> Iterator[Peer]:
    """
    Start ``rclone serve webdav`` over its crypt; without *checks* it hashes nothing.
    """
    program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if program is None:
        raise NoPeer("there is no program rclone")
    port = free_ports(1)[0]
    (folder / "files").mkdir()
    obscured = subprocess.run(
        [program, "obscure", "a pass phrase"], check=True, capture_output=True, text=True
    )
    (folder / "rclone.conf").write_text(
        f"[sealed]\ntype = crypt\nremote = {folder}/files\npassword = {obscured.stdout.strip()}\n"
    )
    command = [program, "--config", str(folder / "rclone.conf"), "serve", "webdav", "sealed:"]
    command += ["--addr", f"127.0.0.1:{port}", *([] if checks else ["--ignore-checksum"])]
    name = "rclone crypt" if checks else "rclone crypt, no checksum"
    with _process(command, folder) as process:
        _wait_for_port(port, process)

        def stored(size: int) -> str:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/stored", data=os.urandom(size), method="PUT"
            )
            with urllib.request.urlopen(request):
                return "/stored"

        yield Peer(
            name,
            process.pid,
            port,
            folder,
            _put("/file-{n}"),
            _get,
            stored,
        )


def _get(path: str, header: str) -> str:
    return _GET_HEAD.format(path=path, extra=header)


def _put(path: str) -> Callable[[int], str]:
    return lambda size: _PUT_HEAD.format(path=path, extra="", size=size)


@contextmanager
def _python(kind: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with _process([sys.executable, "-m", "bench.plain_servers", kind, str(folder)], None) as process:
        yield process, int(_first_line(process))


@contextmanager
def _process(command: list[str], folder: Path | None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise NoPeer(f"{process.args!r} ended before it listened")
    return line


def _wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise NoPeer(f"{process.args!r} does not listen")
        time.sleep(0.05)  # noqa: TID251 - nobody tells when a stranger listens


def _sync(folder: Path) -> None:
    # The file system's own sync: every file that was put, and no other file system's.
    subprocess.run(["sync", "-f", str(folder)], check=True)
