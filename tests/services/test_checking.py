"""
Looking after copies: what is missing or damaged is made anew from what is whole; nothing is believed to be lost too early.
"""

import uuid
from collections import Counter

import aiohttp
import pytest

from gateway.api import AuthRevoked, Transient
from gateway.base.ids import RecordingId
from gateway.services.checking import Verdict
from gateway.workers.scrubber import Scrubber
from tests.http.phone import Phone, blob_files
from tests.services.clouds import Cloud
from tests.services.test_copying import CONTENT, copies_of, jobs, linked, worked
from tests.support.clock import FakeClock
from tests.support.gateway import Served


async def placed(
    served: Served, count: int = 2, **route: object
) -> tuple[Phone, str, list[str], list[Cloud]]:
    """
    Return a recording that lies at home and at so many accounts.
    """
    phone, links, clouds = await linked(served, count, **route)
    recording = await phone.record(CONTENT)
    await served.placed()
    return phone, recording, links, clouds


async def scrubbed(served: Served, *, deep: bool = False) -> Counter[Verdict]:
    return Counter([finding.verdict async for finding in served.gateway.checks.scrub(deep=deep)])


def damage_home(served: Served) -> None:
    [home] = blob_files(served)
    content = bytearray(home.read_bytes())
    content[20_000] ^= 1
    home.chmod(0o600)
    home.write_bytes(content)


async def test_a_scrub_of_whole_copies_changes_nothing(served: Served) -> None:
    phone, recording, _, clouds = await placed(served)
    before = [cloud.keys for cloud in clouds], blob_files(served), await copies_of(phone, recording)
    assert {Verdict.WHOLE: 3} == await scrubbed(served)
    await served.placed()
    assert before == ([cloud.keys for cloud in clouds], blob_files(served), await copies_of(phone, recording))


async def test_what_a_user_deleted_by_hand_is_placed_again(served: Served) -> None:
    phone, recording, links, clouds = await placed(served)
    [key] = clouds[0].keys
    del clouds[0].place.blobs[key]

    assert {Verdict.WHOLE: 2, Verdict.MISSING: 1} == await scrubbed(served)
    assert "pending" == (await copies_of(phone, recording))[links[0]]
    await served.placed()
    assert "placed" == (await copies_of(phone, recording))[links[0]]
    assert key not in clouds[0].keys
    assert list(clouds[0].place.blobs.values()) == list(clouds[1].place.blobs.values())
    assert {Verdict.WHOLE: 3} == await scrubbed(served)


async def test_what_changed_at_the_provider_is_replaced(served: Served) -> None:
    _, _, _, clouds = await placed(served)
    clouds[1].damage()

    assert {Verdict.WHOLE: 2, Verdict.DAMAGED: 1} == await scrubbed(served)
    await served.placed()
    assert 1 == len(clouds[1].keys)
    assert list(clouds[0].place.blobs.values()) == list(clouds[1].place.blobs.values())


async def test_a_damaged_home_is_found_by_a_deep_look_and_mended_from_a_cloud(served: Served) -> None:
    phone, recording, _, clouds = await placed(served)
    damage_home(served)

    assert {Verdict.WHOLE: 3} == await scrubbed(served)
    assert {Verdict.WHOLE: 2, Verdict.DAMAGED: 1} == await scrubbed(served, deep=True)
    await served.placed()
    [home] = blob_files(served)
    assert [home.read_bytes()] == list(clouds[0].place.blobs.values())
    assert "placed" == (await copies_of(phone, recording))["home"]


async def test_an_account_out_of_reach_is_not_taken_for_an_empty_one(served: Served) -> None:
    phone, recording, links, clouds = await placed(served)
    clouds[0].outage = AuthRevoked("gone")
    clouds[1].outage = Transient("down")

    assert {Verdict.WHOLE: 1, Verdict.UNREACHABLE: 2} == await scrubbed(served)
    assert ["placed"] * 2 == [(await copies_of(phone, recording))[link] for link in links]
    assert [] == await jobs(served)


async def test_the_last_copy_is_never_given_up(served: Served) -> None:
    phone, recording, [link], [cloud] = await placed(served, 1, home=False)
    kept = dict(cloud.place.blobs)
    cloud.place.blobs.clear()

    assert {Verdict.MISSING: 1} == await scrubbed(served)
    assert "placed" == (await copies_of(phone, recording))[link]
    cloud.place.blobs.update(kept)
    assert CONTENT == (await phone.audio(recording)).body


async def test_a_listener_hears_another_copy_and_the_broken_one_is_mended(served: Served) -> None:
    phone, recording, _, clouds = await placed(served)
    damage_home(served)

    assert CONTENT == (await phone.audio(recording)).body
    assert ["check"] == [job.kind for job in await jobs(served)]
    await worked(served)
    [home] = blob_files(served)
    assert [home.read_bytes()] == list(clouds[0].place.blobs.values())


async def test_a_listener_who_is_in_the_middle_goes_on_with_another_copy(served: Served) -> None:
    phone, recording, _, _ = await placed(served)
    damage_home(served)
    answer = await phone.audio(recording, {"Range": "bytes=10000-250000"})
    assert (206, CONTENT[10_000:250_001]) == (answer.status, answer.body)


async def test_a_missing_home_is_heard_from_a_cloud(served: Served) -> None:
    phone, recording, _, _ = await placed(served)
    blob_files(served)[0].unlink()
    assert CONTENT == (await phone.audio(recording)).body
    await worked(served)
    assert 1 == len(blob_files(served))


@pytest.mark.parametrize("others", [0, 1])
async def test_with_every_copy_broken_nothing_wrong_is_heard(served: Served, others: int) -> None:
    phone, recording, _, clouds = await placed(served, others)
    damage_home(served)
    for cloud in clouds:
        cloud.damage()
    with pytest.raises(aiohttp.ClientError):
        await phone.audio(recording)


async def test_the_background_scrub_looks_at_each_copy_once_in_its_time(
    served: Served, clock: FakeClock
) -> None:
    _, _, _, clouds = await placed(served, 1)
    settings = served.gateway.settings.scrub
    scrubber = Scrubber(served.gateway.checks, clock, settings)
    del clouds[0].place.blobs[clouds[0].keys[0]]

    await scrubber.scrub()
    assert [] == await jobs(served)
    clock.advance(settings.every_s + 1)
    await scrubber.scrub()
    await served.placed()
    assert 1 == len(clouds[0].keys)


async def test_a_recording_that_was_erased_meanwhile_is_not_brought_back(served: Served) -> None:
    phone, recording, _, clouds = await placed(served, 1)
    del clouds[0].place.blobs[clouds[0].keys[0]]
    await scrubbed(served)
    assert 200 == (await phone.erase(recording)).status
    await worked(served)
    assert [] == await served.gateway.checks.check(RecordingId(uuid.UUID(recording)))
    assert ([], []) == (clouds[0].keys, blob_files(served))
