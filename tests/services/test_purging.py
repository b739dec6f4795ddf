"""
What becomes of copies after an erasure, and what the receipts say of them.
"""

from datetime import timedelta

from gateway.api import AuthRevoked, Transient
from tests.http.phone import Phone
from tests.services.test_checking import placed
from tests.services.test_copying import jobs, worked
from tests.support.clock import FakeClock
from tests.support.gateway import Served


async def told(phone: Phone, recording: str) -> dict[str, tuple[str, int | None]]:
    """
    Return what the purge receipt says of each place.
    """
    document = (await phone.ask("GET", f"/v1/receipts/{recording}")).document
    if document["purge_receipt"] is None:
        return {}
    return {
        entry["backend"]: (entry["state"], entry["at_ms"])
        for entry in document["purge_receipt"]["placements"]
    }


async def test_every_copy_is_deleted_and_the_receipt_says_where_it_can_come_back(
    served: Served, clock: FakeClock
) -> None:
    phone, recording, links, clouds = await placed(served, 3)
    clouds[1].recoverable_for = timedelta(days=30)
    clouds[2].recoverable_for = None
    shredded = (await phone.erase(recording)).document["receipt"]
    assert {"home", *(f"memory:{link}" for link in links)} == {p["backend"] for p in shredded["placements"]}
    await worked(served)

    now = clock.now_ms()
    assert [[], [], []] == [cloud.keys for cloud in clouds]
    assert {
        "home": ("purged", now),
        f"memory:{links[0]}": ("purged", now),
        f"memory:{links[1]}": ("recoverable-until", now + 30 * 86_400_000),
        f"memory:{links[2]}": ("recoverable-until", None),
    } == await told(phone, recording)


async def test_an_account_that_fails_for_a_while_is_asked_again(served: Served) -> None:
    phone, recording, [link], [cloud] = await placed(served, 1)
    cloud.outage = Transient("down")
    await phone.erase(recording)
    await served.placed()
    assert {} == await told(phone, recording)
    cloud.outage = None
    await worked(served)
    assert "purged" == (await told(phone, recording))[f"memory:{link}"][0]
    assert [] == cloud.keys


async def test_an_account_out_of_reach_keeps_its_blob_and_the_receipt_says_so(
    served: Served, clock: FakeClock
) -> None:
    phone, recording, [link], [cloud] = await placed(served, 1)
    cloud.outage = AuthRevoked("gone")
    await phone.erase(recording)
    await worked(served)
    assert ("left", clock.now_ms()) == (await told(phone, recording))[f"memory:{link}"]
    assert [] == await jobs(served)


async def test_what_was_left_is_deleted_once_the_account_can_be_reached_again(served: Served) -> None:
    phone, recording, [link], [cloud] = await placed(served, 1)
    cloud.outage = AuthRevoked("gone")
    await phone.erase(recording)
    await worked(served)
    cloud.outage = None
    await served.gateway.context.erasure.sweep_left(link)
    assert [] == cloud.keys
    assert "purged" == (await told(phone, recording))[f"memory:{link}"][0]


async def test_an_erased_account_leaves_nothing_in_its_clouds(served: Served) -> None:
    phone, _, links, clouds = await placed(served, 2)
    erasure = served.gateway.context.erasure
    salt = await erasure.bury_account(phone.user_id)
    await worked(served)
    assert [[], []] == [cloud.keys for cloud in clouds]
    receipt = (await erasure.account_erasure_of(phone.user_id, salt=salt)).receipts[-1].document
    assert {"home", *(f"memory:{link}" for link in links)} == {p["backend"] for p in receipt["placements"]}
    assert {"purged"} == {p["state"] for p in receipt["placements"]}
