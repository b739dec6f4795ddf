"""
Copies in linked accounts: made from what is whole, each once, and never lost on the way.
"""

import asyncio
import json

import pytest

from gateway.api import AuthRevoked, IntegrityMismatch, QuotaExceeded, RateLimited, Transient
from gateway.catalog.jobs import JobRow, list_jobs
from tests.http.phone import Phone, blob_files, speech, spool_files
from tests.services.clouds import Cloud, Clouds
from tests.services.test_placement import make_due
from tests.support.gateway import Served

CONTENT = speech(300_000)
JSON = {"Content-Type": "application/json"}


async def choose(phone: Phone, **route: object) -> None:
    answer = await phone.ask("PUT", "/v1/route", JSON, json.dumps(route).encode())
    assert 200 == answer.status, answer.body


async def copies_of(phone: Phone, recording: str) -> dict[str, str]:
    answer = await phone.ask("GET", f"/v1/recordings/{recording}/copies")
    return {copy["place"]: copy["state"] for copy in answer.document["copies"]}


async def jobs(served: Served) -> list[JobRow]:
    async with served.gateway.context.catalog.read() as connection:
        return await list_jobs(connection)


async def worked(served: Served, times: int = 12) -> None:
    """
    Do what is due, and what was put off, until nothing is left or nothing moves.
    """
    for _ in range(times):
        await served.placed()
        if all(job.state == "parked" for job in await jobs(served)):
            return
        await make_due(served)


async def linked(served: Served, count: int, **route: object) -> tuple[Phone, list[str], list[Cloud]]:
    """
    Return a phone whose user has linked so many accounts, and routes his recordings there.
    """
    phone = await Phone.of_new_user(served)
    clouds = Clouds(served)
    pairs = [await clouds.link(phone.user_id) for _ in range(count)]
    links = [link for link, _ in pairs]
    await choose(phone, **{"home": True, "copies": links, **route})
    return phone, links, [cloud for _, cloud in pairs]


async def test_copies_go_to_every_account_of_the_route(served: Served) -> None:
    phone, links, clouds = await linked(served, 3)
    recording = await phone.record(CONTENT)
    await served.placed()

    assert {"home": "placed", **dict.fromkeys(links, "placed")} == await copies_of(phone, recording)
    blob = blob_files(served)[0].read_bytes()
    assert [[blob]] * 3 == [list(cloud.place.blobs.values()) for cloud in clouds]
    assert 3 == len({key for cloud in clouds for key in cloud.keys})
    assert [] == spool_files(served)


async def test_a_recording_in_his_own_clouds_alone_leaves_home_once_it_is_there(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1, home=False)
    recording = await phone.record(CONTENT)
    await served.placed()

    assert {"home": "purged", link: "placed"} == await copies_of(phone, recording)
    assert [] == blob_files(served)
    assert CONTENT == (await phone.audio(recording)).body
    assert 1 == len(cloud.keys)


async def test_home_keeps_its_copy_until_all_others_are_there(served: Served) -> None:
    phone, links, clouds = await linked(served, 2, home=False)
    clouds[1].outage = AuthRevoked("gone")
    recording = await phone.record(CONTENT)
    await worked(served)

    assert {"home": "placed", links[0]: "placed", links[1]: "pending"} == await copies_of(phone, recording)
    assert 1 == len(blob_files(served))


@pytest.mark.parametrize("fault", [Transient("503"), RateLimited("429")])
async def test_an_account_that_fails_for_a_while_gets_its_copy_and_no_byte_twice(
    served: Served, fault: Transient
) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    cloud.faults = [fault] * 5
    await worked(served)

    assert "placed" == (await copies_of(phone, recording))[link]
    assert cloud.sent == len(next(iter(cloud.place.blobs.values())))


async def test_a_part_whose_answer_was_lost_is_not_sent_again(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    cloud.lost_answers = [Transient("lost")] * 3
    await worked(served)

    assert "placed" == (await copies_of(phone, recording))[link]
    assert cloud.sent == len(next(iter(cloud.place.blobs.values())))


async def test_a_commit_whose_answer_was_lost_makes_no_second_blob(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    size = 300_000 + 36 + 56 + 16 * 19
    cloud.lost_answers = [Transient("lost")] * (-(-size // 65_536) + 1)
    await worked(served)

    assert "placed" == (await copies_of(phone, recording))[link]
    assert 1 == len(cloud.keys)
    assert {} == cloud.place.incoming


async def test_a_put_that_the_provider_forgot_begins_anew(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    cloud.faults = [Transient("down")]
    await served.placed()
    cloud.place.incoming.clear()
    await worked(served)

    assert "placed" == (await copies_of(phone, recording))[link]
    assert 1 == len(cloud.keys)


async def test_a_copy_that_arrived_changed_is_sent_again(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    cloud.faults = [Transient("later"), Transient("later"), IntegrityMismatch("changed")]
    await worked(served)
    assert "placed" == (await copies_of(phone, recording))[link]
    assert 1 == len(cloud.keys)


async def test_a_full_account_is_waited_for(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    cloud.faults = [QuotaExceeded("full")]
    await worked(served)

    assert "pending" == (await copies_of(phone, recording))[link]
    [job] = await jobs(served)
    assert ("copy", "parked", "QuotaExceeded: full") == (job.kind, job.state, job.last_error)
    assert CONTENT == (await phone.audio(recording)).body


async def test_where_the_route_says_so_the_next_account_is_taken(served: Served) -> None:
    phone, links, clouds = await linked(served, 3, falls_over=True)
    clouds[0].outage = QuotaExceeded("full")
    clouds[1].outage = AuthRevoked("gone")
    recording = await phone.record(CONTENT)
    await worked(served)

    assert {"home": "placed", links[2]: "placed"} == await copies_of(phone, recording)
    assert [0, 0, 1] == [len(cloud.keys) for cloud in clouds]
    assert [] == await jobs(served)


async def test_with_no_account_left_to_take_the_copy_waits_at_the_last(served: Served) -> None:
    phone, links, clouds = await linked(served, 2, falls_over=True)
    for cloud in clouds:
        cloud.outage = QuotaExceeded("full")
    recording = await phone.record(CONTENT)
    await worked(served)
    assert {"home": "placed", links[1]: "pending"} == await copies_of(phone, recording)


async def test_a_blob_that_is_too_large_for_an_account_is_not_sent_there(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    cloud.largest = 299_999
    recording = await phone.record(CONTENT)
    await worked(served)
    assert "pending" == (await copies_of(phone, recording))[link]
    assert 0 == cloud.sent


async def test_nothing_that_does_not_open_is_copied(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    cloud.faults = [Transient("later")]
    await served.placed()
    cloud.place.incoming.clear()
    [home] = blob_files(served)
    home.chmod(0o600)
    damaged = bytearray(home.read_bytes())
    damaged[20_000] ^= 1
    home.write_bytes(damaged)
    await worked(served, times=3)

    assert "pending" == (await copies_of(phone, recording))[link]
    assert [] == cloud.keys


@pytest.mark.parametrize("parts", [0, 1, 2], ids=lambda parts: f"after-{parts}-parts")
async def test_an_erasure_in_the_middle_of_a_copy_leaves_nothing(served: Served, parts: int) -> None:
    phone, _, [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    erased = []

    async def nothing() -> None:
        pass

    async def erase() -> None:
        erased.append(await phone.erase(recording))

    cloud.meanwhile = [*[nothing] * parts, erase]
    await worked(served)

    assert erased
    assert ([], {}) == (cloud.keys, cloud.place.incoming)
    assert [] == await jobs(served)
    assert "purged" == (await phone.erase(recording)).document["state"]


async def test_copies_of_the_same_recording_made_twice_at_once_are_one(served: Served) -> None:
    phone, [link], [cloud] = await linked(served, 1)
    recording = await phone.record(CONTENT)
    cloud.faults = [Transient("later")]
    await served.placed()
    [job] = await jobs(served)
    copies = served.gateway.copies
    results = await asyncio.gather(*(copies.copy(job.subject_id) for _ in range(3)), return_exceptions=True)
    assert None in results
    await worked(served)
    assert "placed" == (await copies_of(phone, recording))[link]
    assert 1 == len(cloud.keys)
