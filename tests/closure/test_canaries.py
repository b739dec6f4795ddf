"""
Words that are to be found nowhere: what users and their phones say is on no disk in clear, and out of reach once erased.
"""

import base64
import secrets
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp
import pytest
import structlog

from tests.closure.attacker import Loot
from tests.closure.world import World
from tests.support.gateway import APPEND, TUS, running_daemon
from tests.support.postgres import PostgresServer

Canaries = dict[str, str]


def hatch(*names: str) -> Canaries:
    """
    Make a word for each name that occurs nowhere else; numbers and addresses look like such.
    """

    def word(name: str) -> str:
        if name in ("phone", "party_number"):
            return "+" + "".join(secrets.choice("0123456789") for _ in range(18))
        return f"{name}-{secrets.token_hex(8)}" + ("@example.org" if name == "email" else "")

    return {name: word(name) for name in names}


def spellings(canary: str) -> Iterator[bytes]:
    """
    Yield the ways in which a program might write a word down.
    """
    plain = canary.encode()
    yield from (plain, canary.encode("utf-16-le"), plain.hex().encode(), canary[1:].encode())
    for shift in range(3):
        # In base64 a word looks different with each place that it may begin at; its ends depend on what is beside it.
        encoded = base64.b64encode(bytes(shift) + plain)
        yield encoded[4:-4]


def found_in(canaries: Canaries, files: Iterable[Path], *texts: str) -> list[tuple[str, str]]:
    """
    Return which canary was found where.
    """
    wanted = {name: list(spellings(canary)) for name, canary in canaries.items()}
    contents = {str(path): path.read_bytes() for path in files if path.is_file()}
    contents |= {f"text {number}": text.encode() for number, text in enumerate(texts)}
    return [
        (name, place)
        for place, content in contents.items()
        for name, ways in wanted.items()
        if any(way in content for way in ways)
    ]


def known_to(loot: Loot, canaries: Canaries) -> set[str]:
    opened = b"\n".join(loot.plaintexts())
    return {name for name, canary in canaries.items() if canary.encode() in opened}


def metadata(canaries: Canaries) -> str:
    """
    Say them as a phone does, in ``Upload-Metadata``.
    """
    return ",".join(
        f"{name} {base64.b64encode(canary.encode()).decode()}" for name, canary in canaries.items()
    )


@pytest.mark.parametrize("spelling", range(7))
def test_a_canary_is_found_in_any_spelling(tmp_path: Path, spelling: int) -> None:
    canaries = hatch("note", "phone")
    for number, canary in enumerate(canaries.values()):
        (tmp_path / str(number)).write_bytes(b"\0\0" + list(spellings(canary))[spelling] + b"\0")
    found = found_in(canaries, tmp_path.iterdir())
    assert [("note", str(tmp_path / "0")), ("phone", str(tmp_path / "1"))] == sorted(found)
    assert [] == found_in(hatch("note", "phone"), tmp_path.iterdir())


async def test_what_was_said_is_nowhere_and_out_of_reach_once_erased(
    either: World, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    said = hatch("filename", "party_number", "party_name", "note", "labels")
    edited = hatch("later note", "later label")
    unfinished = hatch("filename", "note")
    personal = hatch("name", "phone", "email")
    sound = hatch("sound")
    everything = {
        f"{kind} {name}": canary
        for kind, canaries in [("said", said), ("edited", edited), ("unfinished", unfinished)]
        for name, canary in canaries.items()
    }
    everything |= personal | sound

    def files() -> Iterator[Path]:
        yield from either.data_dir.rglob("*")
        if "postgresql" in request.node.name:
            server: PostgresServer = request.getfixturevalue("postgresql_server")
            server.psql("CHECKPOINT")
            yield from server.folder.rglob("*")

    async def check_nowhere(logs: list[structlog.typing.EventDict]) -> None:
        output = capfd.readouterr()
        assert [] == found_in(everything, files(), repr(logs), output.out, output.err)

    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logs:
        accounts = either.context.accounts
        user_id = await accounts.add_user(
            name=personal["name"], phone=personal["phone"], email=personal["email"]
        )
        token = await accounts.new_token(user_id, lifetime_s=3600)
        auth = {"Authorization": f"Bearer {token.reveal().decode()}"}
        async with either.served() as served:
            content = sound["sound"].encode() * 2000
            recording = await served.upload(auth, content, metadata=metadata(said))
            address = f"/v1/recordings/{recording}"
            async with served.http.post(
                "/v1/uploads",
                data=content[:1000],
                headers={**auth, **APPEND, "Upload-Length": "5000", "Upload-Metadata": metadata(unfinished)},
            ) as response:
                upload = response.headers["Location"]
            async with served.http.get(address, headers=auth) as response:
                assert said["note"] == (await response.json())["note"]
            async with served.http.patch(
                address, json={"note": edited["later note"], "labels": [edited["later label"]]}, headers=auth
            ) as response:
                assert 200 == response.status
            for wanted in ({"party": said["party_number"]}, {"label": edited["later label"]}):
                async with served.http.get("/v1/recordings", params=wanted, headers=auth) as response:
                    assert [recording] == [r["id"] for r in (await response.json())["recordings"]]
            async with served.http.get("/v1/recordings", params=said, headers=auth) as response:
                assert 400 == response.status
            await served.placed()
            async with served.http.get(f"{address}/audio", headers=auth) as response:
                assert content == await response.read()

            async with served.http.post(
                "/v1/exports", json={"include": ["audio", "sealed"]}, headers=auth
            ) as response:
                export = (await response.json())["id"]
            await served.placed()
            async with served.http.get(f"/v1/exports/{export}/archive", headers=auth) as response:
                archive = await response.read()
            for canary in (personal["name"], sound["sound"], edited["later note"]):
                assert canary.encode() in archive
            async with served.http.get(f"/v1/exports/{export}", headers=auth) as response:
                assert [] == found_in(everything, (), await response.text())

            await check_nowhere(logs)
            # The same search does find what lies there in clear, and the attacker reads all of it.
            assert found_in({"id": recording}, files())
            assert set(everything) - {"sound"} == known_to(either.attack(), everything) - {"sound"}
            assert content[:16384] in either.attack().audio[uuid.UUID(recording)]

            async with served.http.delete(address, headers=auth) as response:
                assert 200 == response.status
                assert [] == found_in(everything, (), await response.text())
            async with served.http.delete(upload, headers={**auth, **TUS}) as response:
                assert 204 == response.status
            await served.placed()
        await check_nowhere(logs)
        assert set(personal) == known_to(either.attack(exhaustive=True), everything)

        salt = await either.context.erasure.bury_account(user_id)
        await either.context.erasure.shred_account(user_id, salt=salt)
        await either.gateway.do_due_jobs()
        await check_nowhere(logs)
        assert set() == known_to(either.attack(exhaustive=True), everything)


async def test_a_daemon_writes_none_of_it_down(tmp_path: Path) -> None:
    """
    Killed with everything in its hands, and again after it has erased.
    """
    said, personal = hatch("filename", "party_number", "party_name", "note", "labels"), hatch("name")
    everything = {**said, **personal, **hatch("sound")}
    content = everything["sound"].encode() * 2000
    data_dir = tmp_path / "data"
    async with running_daemon(data_dir, environment={"GATEWAY_LOG__LEVEL": "debug"}) as daemon:
        _, auth = daemon.new_user(personal["name"])
        async with aiohttp.ClientSession(daemon.url) as http:
            headers = {
                **auth,
                **APPEND,
                "Upload-Length": str(len(content)),
                "Upload-Metadata": metadata(said),
            }
            async with http.post("/v1/uploads", data=content, headers=headers) as response:
                recording = response.headers["Location"].rpartition("/")[2]
        daemon.kill()
        assert [] == found_in(everything, tmp_path.rglob("*"))
        assert found_in({"id": recording}, tmp_path.rglob("*"))
        await daemon.start()
        async with (
            aiohttp.ClientSession(daemon.url) as http,
            http.delete(f"/v1/recordings/{recording}", headers=auth) as response,
        ):
            assert 200 == response.status
        daemon.kill()
        assert [] == found_in(everything, tmp_path.rglob("*"), daemon.log_text)
