"""
``gateway notice`` and ``gateway policy``: what an operator tells his users.
"""

import json
import subprocess
from pathlib import Path

import pytest

from gateway.settings import passed_environment
from tests.support.forked_command import run_forked

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    file = tmp_path / "breach.md"
    file.write_text("# Somebody got in\n\nThis is *what* happened.\n")
    return file


def gateway(data_dir: Path, group: str, command: str, *words: object) -> subprocess.CompletedProcess[str]:
    arguments = [group, command, "--data-dir", str(data_dir), *map(str, words)]
    done = run_forked(arguments, folder=data_dir.parent, environment=passed_environment())
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_breach_is_told_and_shown(data_dir: Path, template: Path, tmp_path: Path) -> None:
    user = gateway(data_dir, "user", "add", "--name", "Ada").stdout.strip()
    ids = tmp_path / "ids"
    ids.write_text(f"{user}\n\n")
    send = ("--kind", "breach", "--template", template, "--yes", "--to")
    sent = [gateway(data_dir, "notice", "send", *send, to) for to in ("all", ids)]
    assert [0, 0] == [each.returncode for each in sent], sent
    assert "audit.notice_sent" in sent[0].stderr
    listed = json.loads(gateway(data_dir, "notice", "list", "--json").stdout)
    assert [each.stdout.strip() for each in sent] == [row["id"] for row in listed[::-1]]
    assert {"Somebody got in"} == {row["title"] for row in listed}
    assert ["listed", "all"] == [row["to"] for row in listed]
    assert "Somebody got in" in gateway(data_dir, "notice", "list").stdout
    # No daemon has told anybody yet.
    assert "Nobody was told yet." in gateway(data_dir, "notice", "show", sent[0].stdout.strip()).stderr
    assert [] == json.loads(gateway(data_dir, "notice", "show", user, "--json").stdout)
    assert 1 == gateway(data_dir, "notice", "show", UNKNOWN).returncode


@pytest.mark.parametrize(
    ("text", "ids", "told"),
    [
        ("No title\n\nA text.\n", "", "no title"),
        ("# A title\n", "", "a text"),
        ("# A title\n\nA text.\n", "somebody\n", "line 1"),
        ("# A title\n\nA text.\n", f"{UNKNOWN}\n", UNKNOWN),
    ],
)
def test_what_is_wrong_is_named_and_nobody_is_told(
    data_dir: Path, tmp_path: Path, text: str, ids: str, told: str
) -> None:
    template, file = tmp_path / "template.md", tmp_path / "ids"
    template.write_text(text)
    file.write_text(ids)
    to = file if ids else "all"
    answer = gateway(
        data_dir, "notice", "send", "--kind", "transfer", "--template", template, "--yes", "--to", to
    )
    assert 0 != answer.returncode
    assert "Traceback" not in answer.stderr
    assert told in answer.stderr
    assert "running" not in gateway(data_dir, "notice", "list").stdout


def test_a_policy_is_published_and_listed(data_dir: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.md"
    policy.write_text("# Policy\n\nNothing is kept.\n")
    assert "No policy is published" in gateway(data_dir, "policy", "list").stderr
    published = gateway(data_dir, "policy", "publish", policy, "--effective", "2999-01-31", "--yes")
    assert "1" == published.stdout.strip(), published.stderr
    [row] = json.loads(gateway(data_dir, "policy", "list", "--json").stdout)
    assert (1, "2999-01-31T00:00:00.000Z", False, 0) == (
        row["version"],
        row["effective_at"],
        row["is_in_force"],
        row["accepted_by"],
    )
    for day, told in (("2001-01-31", "past"), ("2998-01-31", "before that of version 1")):
        answer = gateway(data_dir, "policy", "publish", policy, "--effective", day, "--yes")
        assert (1, True) == (answer.returncode, told in answer.stderr)
    assert "Version 1 of the policy" in gateway(data_dir, "notice", "list").stdout


def test_where_no_accounts_wait_none_are_approved(data_dir: Path) -> None:
    gateway(data_dir, "user", "add", "--name", "Ada")
    answer = gateway(
        data_dir, "retention", "approve-accounts", "--accounts", "1", "--unused-until", "2026-01-01"
    )
    assert 1 == answer.returncode
    assert json.loads(gateway(data_dir, "retention", "show", "--json").stdout)["accounts_stop"] is None
