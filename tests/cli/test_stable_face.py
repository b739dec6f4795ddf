"""
What scripts and checks from outside rely on: what is on stdout, what is on stderr, and the exit status.
"""

import asyncio
import json
import re
import socket

import pytest

from tests.cli.conftest import Shell, new_user
from tests.support.gateway import Daemon

UUID_LINE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n")


def test_user_add_prints_the_id_alone_and_token_new_the_token_alone(daemon: Daemon, shell: Shell) -> None:
    data = ("--data-dir", daemon.data_dir)
    user = shell.run(
        "user", "add", *data, "--name", "Ada", "--phone", "+441632960001", "--email", "ada@example.com"
    )
    token = shell.run("token", "new", *data, user.stdout.strip())

    assert (0, "") == (user.returncode, user.stderr)
    assert UUID_LINE.fullmatch(user.stdout)
    assert (0, "") == (token.returncode, token.stderr)
    assert re.fullmatch(r"\S{20,}\n", token.stdout)
    assert "[]" == shell.out("recordings", "--json", GATEWAY_TOKEN=token.stdout.strip())


def test_users_and_tokens_are_made_without_a_daemon_and_count_in_the_one_that_comes(operator: Shell) -> None:
    data = operator.data_dir
    user = operator.out("user", "add", "--data-dir", data, "--name", "Ada")
    token = operator.out("token", "new", "--data-dir", data, user)
    daemon = Daemon(data)
    asyncio.run(daemon.start())
    try:
        assert "[]" == operator.out("recordings", "--json", "--server", daemon.url, "--token", token)
    finally:
        daemon.kill()


def test_user_list_as_json_is_json_and_nothing_else(operator: Shell) -> None:
    data = operator.data_dir
    user = operator.out("user", "add", "--data-dir", data, "--name", "Ada", "--email", "ada@example.com")
    plain = json.loads(operator.out("user", "list", "--data-dir", data, "--json"))
    assert [{"id", "state", "created_at", "recordings"}] == [set(entry) for entry in plain]
    listed = operator.run("user", "list", "--data-dir", data, "--reason", "a test", "--json")

    (entry,) = json.loads(listed.stdout)
    assert (0, "") == (listed.returncode, listed.stderr)
    assert (user, "Ada", "ada@example.com", None) == (
        entry["id"],
        entry["name"],
        entry["email"],
        entry["phone"],
    )


def test_is_the_same_from_a_shell(shell: Shell) -> None:
    """
    Most tests fork a process that has imported everything; this one starts from nothing.
    """
    (shell.folder / "call.m4a").write_bytes(b"x")
    with shell.popen("upload", "call.m4a") as uploading:
        stdout, stderr = uploading.communicate(timeout=60)
    with shell.popen("upload", "no-such-file") as misused:
        complaint = misused.communicate(timeout=60)[1]
    with shell.popen("recordings", GATEWAY_TOKEN="nobody") as failing:
        failure = failing.communicate(timeout=60)[1]

    assert (0, 2, 1) == (uploading.returncode, misused.returncode, failing.returncode)
    assert UUID_LINE.fullmatch(stdout.decode())
    assert b"call.m4a: 1 byte uploaded\n" == stderr
    assert b"no-such-file" in complaint
    assert failure.startswith(b"Error: Not signed in: ")


def test_an_empty_list_is_said_on_stderr(operator: Shell) -> None:
    listed = operator.run("user", "list", "--data-dir", operator.data_dir)

    assert (0, "") == (listed.returncode, listed.stdout)
    assert "no users yet" in listed.stderr


def test_user_erase_prints_a_receipt_beside_the_daemon(daemon: Daemon, shell: Shell) -> None:
    user, _ = asyncio.run(new_user(daemon.data_dir))
    receipt = shell.folder / "receipt.json"
    receipt.write_text(shell.out("user", "erase", "--data-dir", daemon.data_dir, "--yes", user))

    verified = shell.run("receipt", "verify", "--data-dir", daemon.data_dir, receipt)

    assert 0 == verified.returncode, verified.stderr
    assert f"It is about {user}" in verified.stderr


def test_a_user_is_erased_later_and_stays_after_all(daemon: Daemon, shell: Shell) -> None:
    user, _ = asyncio.run(new_user(daemon.data_dir))
    answer = json.loads(shell.out("user", "erase", "--data-dir", daemon.data_dir, "--yes", "--later", user))
    assert ("leaving", None) == (answer["state"], answer["receipt"])
    assert 64 == len(answer["salt"])

    stays = shell.run("user", "stay", "--data-dir", daemon.data_dir, user)

    assert (0, "") == (stays.returncode, stays.stdout)
    assert stays.stderr.endswith("He stays.\n")
    assert 1 == shell.run("user", "stay", "--data-dir", daemon.data_dir, "nobody").returncode


def test_a_second_daemon_refuses_and_says_what_to_do(daemon: Daemon, operator: Shell) -> None:
    second = operator.run("serve", "--data-dir", daemon.data_dir, "--port", "0")

    assert (1, "") == (second.returncode, second.stdout)
    assert "Another gateway process is serving" in second.stderr
    assert "--data-dir" in second.stderr


def test_a_port_that_is_taken_is_named(operator: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = operator.run("serve", "--data-dir", operator.data_dir, "--port", str(port))

    assert 1 == refused.returncode
    assert str(port) in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("serve", "--port", "99999"),
        ("user", "add"),
        ("token", "revoke"),
        ("upload",),
        ("upload", "no-such-file"),
        ("upload", "--direction", "sideways", "file"),
        ("upload", "--label", "a,b", "file"),
        ("upload", "--recorded-at", "yesterday", "file"),
        ("recordings", "--limit", "0"),
        ("recordings", "--server", "gateway.example"),
        ("recordings", "--server", "https://ada:secret@gateway.example"),
        ("recordings", "--token", "two words"),
        ("download", "not-an-id"),
        ("delete", "--yes"),
        ("delete", "not-an-id"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_nothing_on_stdout(operator: Shell, arguments: tuple[str, ...]) -> None:
    (operator.folder / "file").write_bytes(b"x")
    done = operator.run(*arguments, GATEWAY_TOKEN="token")

    assert (2, "") == (done.returncode, done.stdout)
    assert "Error: " in done.stderr or "Usage: " in done.stderr


def test_a_client_without_a_token_is_told_where_it_may_come_from(operator: Shell) -> None:
    done = operator.run("recordings")

    assert 2 == done.returncode
    assert "GATEWAY_TOKEN" in done.stderr


def test_failures_end_with_1_and_one_line_that_says_why(shell: Shell) -> None:
    nobody = shell.run("recordings", GATEWAY_TOKEN="nobody")
    nowhere = shell.run("recordings", GATEWAY_URL="http://127.0.0.1:1")
    unknown = shell.run("download", "00000000-0000-4000-8000-000000000000")
    wrong = shell.run("recordings", "--stored-from", "yesterday")

    assert {1} == {done.returncode for done in (nobody, nowhere, unknown, wrong)}
    assert {""} == {done.stdout for done in (nobody, nowhere, unknown, wrong)}
    assert nobody.stderr.startswith("Error: Not signed in: ")
    assert "Error: http://127.0.0.1:1 cannot be reached: Connection refused\n" == nowhere.stderr
    assert "Error: Not found: there is no such recording\n" == unknown.stderr
    assert wrong.stderr.startswith("Error: Malformed: stored_from: ")
    assert {1} == {done.stderr.count("\n") for done in (nobody, nowhere, unknown, wrong)}


def test_a_token_that_would_travel_in_clear_brings_a_warning(operator: Shell) -> None:
    done = operator.run("recordings", "--server", "http://gateway.invalid", "--token", "secret")

    assert 1 == done.returncode
    assert "gateway.invalid unencrypted" in done.stderr


def test_a_server_that_is_no_gateway_is_told_from_one(operator: Shell, daemon: Daemon) -> None:
    done = operator.run("recordings", "--server", f"{daemon.url}/elsewhere", "--token", "token")

    assert 1 == done.returncode
    assert done.stderr.startswith("Error: Not found: ")
