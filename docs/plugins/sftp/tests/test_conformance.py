"""
The contract, on OpenSSH: as it comes, and without the extensions that the plugin uses where it finds them.
"""

from pathlib import Path

import pytest
from gateway_sftp.backend import connect as connect_sftp
from gateway_sftp.settings import SftpSettings

from gateway.api import BackendContext
from gateway.testing.conformance import BackendConformance, Connect
from gateway.testing.faults import Cut, CutsConformance
from gateway.testing.lint import PluginLint
from gateway.testing.resumable import ResumablePutsConformance


class TestOpenSsh(BackendConformance, ResumablePutsConformance):
    @pytest.fixture
    def connect(self, sshd, tmp_path: Path) -> Connect:
        settings = sshd.settings(tmp_path / "root")
        return lambda: connect_sftp(BackendContext(account="sftp"), settings)


class TestWithoutExtensions(BackendConformance):
    @pytest.fixture
    def connect(self, plain_sshd, tmp_path: Path) -> Connect:
        settings = plain_sshd.settings(tmp_path / "root")
        return lambda: connect_sftp(BackendContext(account="sftp"), settings)


class TestCuts(CutsConformance):
    @pytest.fixture
    def connect(self, behind_the_line: SftpSettings) -> Connect:
        return lambda: connect_sftp(BackendContext(account="sftp"), behind_the_line)

    @pytest.fixture
    def cut_sending(self, line) -> Cut:
        return lambda count: setattr(line, "sending_left", count)

    @pytest.fixture
    def cut_receiving(self, line) -> Cut:
        return lambda count: setattr(line, "receiving_left", count)


@pytest.mark.usefixtures("installed")
class TestLint(PluginLint):
    package = "gateway_sftp"
