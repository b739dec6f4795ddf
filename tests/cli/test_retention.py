"""
``gateway hold`` and ``gateway retention``: what an operator says about what must stay, and what may go.
"""

import json
import subprocess
from pathlib import Path

from tests.support.gateway import Daemon


def gateway(data_dir: Path, group: str, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    return Daemon(data_dir).command(group, command, "--data-dir", str(data_dir), *words, check=False)


def test_a_hold_is_placed_listed_and_lifted(tmp_path: Path) -> None:
    user = gateway(tmp_path / "data", "user", "add", "--name", "Ada").stdout.strip()
    placed = gateway(tmp_path / "data", "hold", "place", user, "--reason", "case 12", "--until", "2999-01-31")
    hold = placed.stdout.strip()
    assert "audit.hold_placed" in placed.stderr
    [row] = json.loads(gateway(tmp_path / "data", "hold", "list", "--reason", "to see it", "--json").stdout)
    assert (hold, user, "case 12", "2999-01-31T00:00:00.000Z") == (
        row["id"],
        row["user_id"],
        row["reason"],
        row["ends_at"],
    )
    [row] = json.loads(gateway(tmp_path / "data", "hold", "list", "--json").stdout)
    assert (hold, None, None) == (row["id"], row["reason"], row["placed_by"])
    assert 0 != gateway(tmp_path / "data", "user", "erase", "--yes", user).returncode

    assert 0 == gateway(tmp_path / "data", "hold", "lift", hold).returncode
    assert [] == json.loads(gateway(tmp_path / "data", "hold", "list", "--json").stdout)
    assert 1 == len(json.loads(gateway(tmp_path / "data", "hold", "list", "--all", "--json").stdout))
    assert 0 == gateway(tmp_path / "data", "user", "erase", "--yes", user).returncode


def test_where_no_sweep_waits_nothing_is_approved(tmp_path: Path) -> None:
    gateway(tmp_path / "data", "user", "add", "--name", "Ada")
    shown = gateway(tmp_path / "data", "retention", "show")
    assert "No sweep waits." in shown.stdout
    assert json.loads(gateway(tmp_path / "data", "retention", "show", "--json").stdout)["stop"] is None
    answer = gateway(
        tmp_path / "data", "retention", "approve", "--recordings", "1", "--stored-before", "2026-01-01"
    )
    assert 0 != answer.returncode
