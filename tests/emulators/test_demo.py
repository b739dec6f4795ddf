"""
``make demo-clouds`` as somebody uses it: open an address, allow it, and look for the file.
"""

import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import without_gateway_settings
from tests.support.tree import ROOT


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.emulators", "--any-port"],
        cwd=ROOT,
        env={**without_gateway_settings(), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """
    Return the lines up to the first in which *wanted* is found.
    """
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if re.search(wanted, line):
            return lines
    raise AssertionError("\n".join(lines))


def test_all_three_can_be_linked_and_a_call_is_seen_there(
    demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    told = "\n".join(read_until(demo, "gateway link list"))
    pages = re.findall(r"look inside:  (\S+)", told)
    consents = re.findall(r"link it:      (\S+)", told)
    assert (3, 3) == (len(pages), len(consents))

    for page, consent in zip(pages, consents, strict=True):
        with urllib.request.urlopen(consent) as answer:
            form = answer.read().decode()
        account = re.search(r'name="account" value="([^"]+)"', form)
        assert account is not None
        scopes = re.findall(r'name="scope" value="([^"]+)"', form)
        fields = [("account", account[1]), *(("scope", scope) for scope in scopes), ("answer", "allow")]
        with urllib.request.urlopen(consent, urllib.parse.urlencode(fields).encode()) as answer:
            assert "linked" in answer.read().decode()
        read_until(demo, re.escape(page) + r".* is placed")
        with urllib.request.urlopen(page) as answer:
            assert re.search(r"<td>[^<]*[0-9a-f]{64}", answer.read().decode())

    demo.send_signal(signal.SIGINT)
    read_until(demo, "Ended.")
    assert 0 == demo.wait(30)
    assert [] == [path for path in tmp_path.iterdir() if path.name.startswith("gateway-demo-clouds-")]
