"""
OpenSSH's own server as a process of these tests, and a line to it that can be cut.
"""

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import asyncssh
import pytest
from gateway_sftp.settings import SftpSettings

EXTENSIONS = "hardlink,fsync,statvfs"
"""Those that the plugin uses where it finds them."""

pytest.register_assert_rewrite("gateway.testing.conformance", "gateway.testing.resumable")


@dataclass(frozen=True)
class Sshd:
    """
    A running server; its folder holds keys, known hosts and the log.
    """

    port: int
    folder: Path

    def settings(self, root: Path) -> SftpSettings:
        """
        Return the settings of a folder that is made for the purpose.
        """
        root.mkdir(exist_ok=True)
        return SftpSettings(
            host="127.0.0.1",
            port=self.port,
            username=getpass.getuser(),
            root=str(root),
            known_hosts=self.folder / "known_hosts",
            private_key=self.folder / "client_key",
            part_size=1 << 18,
        )


@contextmanager
def running_sshd(folder: Path, *, without: str = "") -> Iterator[Sshd]:
    """
    Run a server; *without* names extensions of the protocol that it is to lack.
    """
    program = shutil.which("sshd", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
    assert program is not None, "there is no sshd; on Debian and Ubuntu the package is openssh-server"
    make_keys(folder)
    if os.getuid() == 0:
        # Where root runs it, it wants an empty folder to lock itself up in.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    (folder / "known_hosts").write_text(known_host(port, folder))
    lacking = f" -P {without}" if without else ""
    (folder / "sshd_config").write_text(f"""
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxStartups 100
Subsystem sftp internal-sftp{lacking}
""")
    command = [program, "-D", "-f", folder / "sshd_config", "-E", folder / "log"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            asyncio.run(until_it_listens(process, port, folder / "log"))
            yield Sshd(port, folder)
        finally:
            process.terminate()


def make_keys(folder: Path) -> None:
    for name in ("host_key", "client_key", "other_key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / name).touch(mode=0o600)
        key.write_private_key(str(folder / name))
        key.write_public_key(str(folder / f"{name}.pub"))
    shutil.copy(folder / "client_key.pub", folder / "authorized_keys")


def known_host(port: int, folder: Path, key: str = "host_key") -> str:
    return f"[127.0.0.1]:{port} {(folder / f'{key}.pub').read_text()}"


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.poll() is None, log.read_text()
            with suppress(ConnectionRefusedError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


class Line:
    """
    Stands between clients and a server, and cuts every connection when so many more bytes have passed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.sending_left: int | None = None
        self.receiving_left: int | None = None
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, up_writer}
        await asyncio.gather(
            self._pass(reader, up_writer, "sending_left"), self._pass(up_reader, writer, "receiving_left")
        )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: str) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                left = getattr(self, limit)
                if left is not None:
                    setattr(self, limit, left - len(data))
                    if left < len(data):
                        setattr(self, limit, None)
                        self.cut()
                        return
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """
    One server for each test process, started when first asked for.
    """
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="session")
def plain_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """
    The same without any extension.
    """
    with running_sshd(tmp_path_factory.mktemp("plain-sshd"), without=EXTENSIONS) as server:
        yield server


@pytest.fixture
async def line(sshd: Sshd) -> AsyncIterator[Line]:
    line = Line(sshd.port)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    yield line
    server.close()
    line.cut()
    await server.wait_closed()


@pytest.fixture
def behind_the_line(sshd: Sshd, line: Line, tmp_path: Path) -> SftpSettings:
    """
    The settings of a folder that is reached over `line`.
    """
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(known_host(line.port, sshd.folder))
    return replace(sshd.settings(tmp_path / "root"), port=line.port, known_hosts=known_hosts)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    The distribution, built and unpacked in a folder where its metadata is found.
    """
    project = Path(__file__).parents[1]
    command = [*(sys.executable, "-m", "hatchling", "build", "--target", "wheel"), "--directory", tmp_path]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"
