"""
The real rclone, which believes that it speaks to the providers themselves.

It knows their hosts by heart, but it goes through a proxy that is named to it, and trusts an authority that is named to it.
So a proxy that ends TLS by itself leads each host to a pretend cloud. What rclone refuses there is the pretence's fault,
for rclone has met the real ones.
"""

import contextlib
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import trustme

TIMEOUT_S = 60


class Rclone:
    """
    Runs rclone with its files in *folder*, and leads each of *hosts* to the URL beside it; enter it to start the proxy.

    Attributes:
        refused: hosts that rclone wanted to speak to and that lead nowhere.
    """

    def __init__(self, folder: Path, hosts: Mapping[str, str]) -> None:
        self.refused: list[str] = []
        self._folder = folder
        self._config = folder / "rclone.conf"
        self._config.touch()
        self._authority = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self._authority))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*hosts).configure_cert(context)
        self._proxy = _Proxy({host: _address(url) for host, url in hosts.items()}, context, self.refused)
        self._thread = threading.Thread(
            target=self._proxy.serve_forever, args=(0.02,), name="rclone-proxy", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        self._thread.join()

    def configure(self, remote: str, **options: str) -> None:
        """
        Add a remote: ``type`` and whatever else its backend wants.
        """
        lines = [f"[{remote}]", *(f"{name} = {value}" for name, value in options.items()), ""]
        with self._config.open("a") as file:
            file.write("\n".join(lines) + "\n")

    def run(self, *arguments: str) -> bytes:
        """
        Run a command that must succeed; return what it prints.
        """
        done = self.tried(*arguments)
        assert done.returncode == 0, f"rclone {' '.join(arguments)}\n{done.stderr.decode()}\n{self.refused}"
        return done.stdout

    def tried(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        """
        Run a command, whatever comes of it.
        """
        program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
        assert program is not None, "rclone is not installed"
        host, port = self._proxy.server_address[:2]
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "TMPDIR"}}  # noqa: TID251 - for a program of its own
        return subprocess.run(
            [
                program,
                *("--config", str(self._config), "--ca-cert", str(self._authority)),
                *("--retries", "1", "--low-level-retries", "3", "--stats", "0"),
                *arguments,
            ],
            env={**kept, "HOME": str(self._folder), "HTTPS_PROXY": f"http://{host!s}:{port}"},
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, addresses: Mapping[str, tuple[str, int]], context: ssl.SSLContext, refused: list[str]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.addresses = addresses
        self.context = context
        self.refused = refused

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Take no notice: rclone tells what it makes of a broken connection.
        """


class _Tunnel(socketserver.BaseRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            byte = self.request.recv(1)
            if not byte:
                return
            asked += byte
        host = asked.split()[1].decode().rpartition(":")[0]
        if host not in self.server.addresses:
            self.server.refused.append(host)
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with (
            self.server.context.wrap_socket(self.request, server_side=True) as near,
            socket.create_connection(self.server.addresses[host]) as far,
        ):
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join(TIMEOUT_S)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(64 << 10):
            target.sendall(piece)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
