"""
Moving recordings from place to place, and taking leave of a linked account.
"""

import json

import pytest

from gateway.api import AuthRevoked, Transient
from tests.http.phone import Answer, Phone, blob_files, speech
from tests.services.test_copying import JSON, copies_of, jobs, linked, worked
from tests.support.gateway import Served

COUNT = 5


async def recorded(served: Served, phone: Phone, count: int = COUNT) -> dict[str, bytes]:
    contents = [speech(70_000 + number, number) for number in range(count)]
    made = {await phone.record(content): content for content in contents}
    await served.placed()
    return made


async def start(phone: Phone, source: str, target: str) -> Answer:
    return await phone.ask(
        "POST", "/v1/moves", JSON, json.dumps({"source": source, "target": target}).encode()
    )


async def unlink(served: Served, phone: Phone, link: str, farewell: str) -> object:
    user = await served.gateway.context.accounts.get_user(phone.user_id)
    return await served.gateway.context.moves.unlink(user, link, farewell)  # type: ignore[arg-type]


async def test_all_recordings_move_and_can_be_heard(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1, copies=[])
    recordings = await recorded(served, phone)
    assert 0 == len(cloud.keys)

    answer = await start(phone, "home", link)
    assert (202, "running", COUNT, 0) == (
        answer.status,
        answer.document["state"],
        answer.document["total"],
        answer.document["done"],
    )
    await worked(served)

    move = (await phone.ask("GET", answer.headers["Location"])).document
    assert ("done", COUNT, COUNT, None) == (move["state"], move["total"], move["done"], move["trouble"])
    assert COUNT == len(cloud.keys)
    assert [] == blob_files(served)
    for recording, content in recordings.items():
        assert {"home": "purged", link: "placed"} == await copies_of(phone, recording)
        assert content == (await phone.audio(recording)).body


async def test_a_move_goes_on_where_it_was_held_up(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1, copies=[])
    recordings = await recorded(served, phone)
    answer = await start(phone, "home", link)
    cloud.faults = [Transient("down")] * 3
    await served.placed()
    held_up = (await phone.ask("GET", answer.headers["Location"])).document
    assert ("running", "Transient: down") == (held_up["state"], held_up["trouble"])
    await worked(served)

    assert "done" == (await phone.ask("GET", answer.headers["Location"])).document["state"]
    assert len(recordings) == len(cloud.keys)


async def test_a_move_there_and_back_ends_where_it_began(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1, copies=[])
    recordings = await recorded(served, phone)
    await start(phone, "home", link)
    await worked(served)
    await start(phone, link, "home")
    await worked(served)

    assert [] == cloud.keys
    assert COUNT == len(blob_files(served))
    for recording, content in recordings.items():
        assert content == (await phone.audio(recording)).body


async def test_a_move_from_an_account_out_of_reach_uses_what_lies_elsewhere(served: Served) -> None:
    phone, links, clouds = await linked(served, 2)
    recordings = await recorded(served, phone, 2)
    clouds[0].outage = AuthRevoked("gone")
    await start(phone, links[0], "home")
    await worked(served)
    for recording in recordings:
        assert {"home": "placed", links[0]: "left", links[1]: "placed"} == await copies_of(phone, recording)


@pytest.mark.parametrize(
    ("source", "target", "field"),
    [("home", "home", "target"), ("home", "elsewhere", "target"), ("elsewhere", "home", "source")],
)
async def test_what_is_no_place_is_refused(served: Served, source: str, target: str, field: str) -> None:
    phone, _, _ = await linked(served, 1)
    answer = await start(phone, source, target)
    assert (400, field) == (answer.status, answer.problem["field"])


async def test_two_moves_from_one_place_are_refused(served: Served) -> None:
    phone, links, _ = await linked(served, 2, copies=[])
    await recorded(served, phone, 1)
    assert 202 == (await start(phone, "home", links[0])).status
    answer = await start(phone, "home", links[1])
    assert (409, "move-under-way") == (answer.status, answer.problem["code"])


async def test_another_users_link_and_move_are_nobody_elses(served: Served) -> None:
    phone, [link], _ = await linked(served, 1, copies=[])
    await recorded(served, phone, 1)
    move = await start(phone, "home", link)
    stranger = await Phone.of_new_user(served, "Grace")
    assert 404 == (await stranger.ask("GET", move.headers["Location"])).status
    assert 404 == (await stranger.ask("DELETE", move.headers["Location"])).status
    assert 400 == (await start(stranger, "home", link)).status


async def test_a_stopped_move_stays_where_it_is(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1, copies=[])
    await recorded(served, phone)
    move = await start(phone, "home", link)
    assert "stopped" == (await phone.ask("DELETE", move.headers["Location"])).document["state"]
    await worked(served)
    assert [] == cloud.keys
    assert COUNT == len(blob_files(served))


async def test_unlinking_with_the_copies_coming_home(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1, home=False)
    recordings = await recorded(served, phone)
    assert [] == blob_files(served)

    assert None is not await unlink(served, phone, link, "home")
    await worked(served)
    assert [] == cloud.keys
    assert COUNT == len(blob_files(served))
    for recording, content in recordings.items():
        assert content == (await phone.audio(recording)).body
    route = (await phone.ask("GET", "/v1/route")).document
    assert {"home": True, "copies": [], "falls_over": False} == route
    assert [] == await jobs(served)


@pytest.mark.parametrize("farewell", ["leave", "delete"])
async def test_unlinking_never_loses_the_only_copies(served: Served, farewell: str) -> None:
    from gateway.services.errors import OnlyCopies

    phone, [link], [cloud] = await linked(served, 1, home=False)
    await recorded(served, phone, 2)
    with pytest.raises(OnlyCopies):
        await unlink(served, phone, link, farewell)
    assert 2 == len(cloud.keys)


@pytest.mark.parametrize(("farewell", "stays", "state"), [("leave", 2, "left"), ("delete", 0, "purged")])
async def test_unlinking_with_copies_elsewhere(served: Served, farewell: str, stays: int, state: str) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recordings = await recorded(served, phone, 2)
    await unlink(served, phone, link, farewell)
    await worked(served)
    assert stays == len(cloud.keys)
    for recording, content in recordings.items():
        assert {"home": "placed", link: state} == await copies_of(phone, recording)
        assert content == (await phone.audio(recording)).body
