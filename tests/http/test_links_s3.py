"""
A bucket of the user's own, linked by its keys: a real store, and the rule that keeps users out of the operator's network.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from gateway.api import new_blob_key
from gateway.base.ids import RecordingId
from gateway.catalog.placements import Arrived, insert_placement, mark_placed
from gateway.testing.sources import BytesSource
from tests.http.link_client import Linker, gateway_for
from tests.support.clock import FakeClock
from tests.support.gateway import Served
from tests.support.pretend_drive import PretendDrive
from tests.support.seaweedfs import ACCESS_KEY_ID, SECRET_ACCESS_KEY, SeaweedFS, running_seaweedfs

S3 = "/v1/links/s3"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def store() -> Iterator[SeaweedFS]:
    with running_seaweedfs() as store:
        yield store


@pytest.fixture(scope="module")
def drive() -> Iterator[PretendDrive]:
    with PretendDrive() as drive:
        yield drive


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(drive: PretendDrive, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """
    One that lets its users name servers in its own network.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        async with gateway_for(
            drive,
            tmp_path_factory.mktemp("links") / "data",
            monkeypatch,
            FakeClock(),
            kinds={"s3": {"region": "us-east-1"}},
            allow_private_addresses=True,
            allow_http=True,
        ) as served:
            yield served


@pytest_asyncio.fixture(loop_scope="module")
async def ada(gateway: Served, drive: PretendDrive) -> Linker:
    return await Linker.of_new_user(gateway, drive)


@pytest.fixture
def wanted(store: SeaweedFS) -> dict[str, Any]:
    return {
        "endpoint": store.endpoint,
        "bucket": store.create_bucket(),
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
    }


async def test_a_bucket_is_linked_by_its_keys(ada: Linker, wanted: dict[str, Any]) -> None:
    reply = await ada.ask("POST", S3, {"settings": wanted})

    assert 201 == reply.status, reply.text
    link = reply.json
    assert ("s3", "ok", wanted["bucket"]) == (link["kind"], link["state"], link["label"])
    assert wanted["endpoint"] == link["settings"]["endpoint"]
    assert "secret_access_key" not in link["settings"]
    assert SECRET_ACCESS_KEY not in reply.text
    assert [link] == await ada.links()


async def test_blobs_go_into_it(ada: Linker, wanted: dict[str, Any], store: SeaweedFS) -> None:
    link = (await ada.ask("POST", S3, {"settings": wanted})).json
    key = new_blob_key()

    async with ada.served.gateway.links.places.at(link["id"]) as backend:
        await backend.put(key, BytesSource(b"sealed"))

    client = store.client()
    names = [entry["Key"] for entry in client.list_objects_v2(Bucket=wanted["bucket"])["Contents"]]
    client.close()
    assert [key] == [name.rpartition("/")[2] for name in names]


async def test_what_has_to_be_given_is_described(ada: Linker) -> None:
    kinds = {kind["kind"]: kind for kind in (await ada.ask("GET", "/v1/links")).json["kinds"]}

    assert "settings" == kinds["s3"]["by"]
    schema = kinds["s3"]["settings"]
    assert {"bucket", "access_key_id", "secret_access_key"} == set(schema["required"])
    assert schema["properties"]["secret_access_key"]["writeOnly"]
    assert "region" not in schema["properties"], "the operator has set it"
    assert "part_size" not in schema["properties"], "it is none of a user's"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"bucket": None}, "bucket"),
        ({"bucket": 5}, "bucket"),
        ({"bucket": "no/bucket"}, "settings"),
        ({"region": "mine"}, "region"),
        ({"part_size": 1}, "part_size"),
    ],
)
async def test_settings_that_cannot_be_taken_are_named(
    ada: Linker, wanted: dict[str, Any], changed: dict[str, object], field: str
) -> None:
    settings = {name: value for name, value in {**wanted, **changed}.items() if value is not None}

    reply = await ada.ask("POST", S3, {"settings": settings})

    assert (400, field) == (reply.status, reply.json["field"])


@pytest.mark.parametrize(
    "changed",
    [{"secret_access_key": "wrong"}, {"bucket": "nobodys-bucket"}, {"access_key_id": "unknown"}],
)
async def test_a_bucket_that_does_not_work_is_not_linked(
    ada: Linker, wanted: dict[str, Any], changed: dict[str, str]
) -> None:
    reply = await ada.ask("POST", S3, {"settings": {**wanted, **changed}})

    assert (422, "place-refused") == (reply.status, reply.json["code"]), reply.text
    assert [] == await ada.links()


async def test_new_keys_are_all_that_linking_anew_takes(ada: Linker, wanted: dict[str, Any]) -> None:
    link = (await ada.ask("POST", S3, {"settings": wanted})).json

    reply = await ada.ask(
        "POST", S3, {"relink": link["id"], "settings": {"secret_access_key": SECRET_ACCESS_KEY}}
    )

    assert (200, link["id"]) == (reply.status, reply.json["id"])
    assert [reply.json] == await ada.links()


async def test_another_bucket_is_not_taken_for_the_one_that_has_the_blobs(
    ada: Linker, wanted: dict[str, Any], store: SeaweedFS
) -> None:
    link = (await ada.ask("POST", S3, {"settings": wanted})).json
    await _place_something(ada, link["id"])

    other = await ada.ask("POST", S3, {"relink": link["id"], "settings": {"bucket": store.create_bucket()}})
    same = await ada.ask("POST", S3, {"relink": link["id"], "settings": wanted})

    assert (422, "other-account") == (other.status, other.json["code"])
    assert 200 == same.status


async def _place_something(ada: Linker, link_id: str) -> None:
    recording = await ada.served.upload(ada.auth, b"spoken words")
    await ada.served.placed()
    context = ada.served.gateway.context
    key = new_blob_key()
    async with ada.served.gateway.links.places.at(link_id) as backend:
        ref = await backend.put(key, BytesSource(b"sealed"))
    async with context.catalog.write() as connection:
        await insert_placement(connection, RecordingId(UUID(recording)), backend=link_id, blob_key=key, at=1)
        await mark_placed(connection, Arrived(key, ref.locator, 6, None), at=2)


@pytest.fixture
async def strict(
    drive: PretendDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> AsyncIterator[Linker]:
    """
    A user of a gateway with the usual rule.
    """
    async with gateway_for(
        drive, tmp_path / "data", monkeypatch, clock, kinds={"s3": {}}, allow_http=True
    ) as served:
        yield await Linker.of_new_user(served, drive)


@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_the_operators_own_network_is_out_of_reach(
    strict: Linker, wanted: dict[str, Any], host: str
) -> None:
    endpoint = wanted["endpoint"].replace("127.0.0.1", host)

    reply = await strict.ask("POST", S3, {"settings": {**wanted, "endpoint": endpoint}})

    assert (422, "place-refused") == (reply.status, reply.json["code"]), reply.text
    assert [] == await strict.links()
