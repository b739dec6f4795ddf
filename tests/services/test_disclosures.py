"""
The register of what went to others: filled by itself, sealed for its user, gone with him.
"""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from gateway.base.ids import UserId
from gateway.catalog.operator_tables import disclosures
from gateway.catalog.users import User
from gateway.services.disclosures import DisclosureRegister, DisclosureView, Recipient
from gateway.services.errors import InvalidField, NotFound
from tests.http.phone import Phone
from tests.services.test_copying import CONTENT, linked, worked
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served

YEAR_S = 366 * 24 * 3600


def register_of(served: Served) -> DisclosureRegister:
    return served.gateway.context.operating.disclosures


async def user_of(served: Served, phone: Phone) -> User:
    return await served.gateway.context.accounts.get_user(phone.user_id)


async def shown(served: Served, phone: Phone, year: int | None = None) -> list[DisclosureView]:
    return await register_of(served).of(await user_of(served, phone), year=year)


async def test_a_cloud_is_noted_when_the_first_bytes_lie_there(served: Served, clock: FakeClock) -> None:
    phone, links, _ = await linked(served, 2)
    other = await Phone.of_new_user(served, "Grace")
    assert [] == await shown(served, phone)
    await phone.record(CONTENT)
    await served.placed()
    await phone.record(CONTENT)
    await served.placed()

    # Once for each account, however many recordings.
    found = await shown(served, phone)
    assert ["cloud"] * len(links) == [view.kind for view in found]
    assert "sealed" in found[0].what
    assert [] == await shown(served, other)


async def test_a_cloud_that_takes_nothing_is_not_noted(served: Served) -> None:
    from gateway.api import QuotaExceeded

    phone, _, [cloud] = await linked(served, 1)
    cloud.outage = QuotaExceeded("full")
    await phone.record(CONTENT)
    await worked(served)
    assert [] == await shown(served, phone)


async def test_what_goes_on_is_noted_again_in_each_calendar_year(served: Served, clock: FakeClock) -> None:
    phone, _, _ = await linked(served, 1)
    first = datetime.fromtimestamp(clock.now_ms() / 1000, UTC).year
    await phone.record(CONTENT)
    await served.placed()
    clock.jump(YEAR_S)
    phone = Phone(
        served,
        phone.user_id,
        {
            "Authorization": "Bearer "
            + (await served.gateway.context.accounts.new_token(phone.user_id, lifetime_s=60))
            .reveal()
            .decode()
        },
    )
    await phone.record(CONTENT)
    await served.placed()

    assert 2 == len(await shown(served, phone))
    for year in (first, first + 1):
        [view] = await shown(served, phone, year)
        assert year == datetime.fromtimestamp(view.at / 1000, UTC).year
    assert [] == await shown(served, phone, first - 1)
    for year in (0, 99999):
        with pytest.raises(InvalidField):
            await shown(served, phone, year)


async def test_whoever_learns_that_somebody_signed_in_is_noted_once(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    user = await user_of(served, phone)
    for _ in range(2):
        await register_of(served).note_proof(user, "phone", Recipient("Twilio", "code"))
        await register_of(served).note_proof(user, "google", Recipient("Google", "sign-in"))
    found = {view.recipient: view for view in await shown(served, phone)}
    assert {"Twilio", "Google"} == set(found)
    assert "phone number" in found["Twilio"].what


async def test_an_operator_notes_the_rest_and_it_is_written_down(served: Served) -> None:
    phone = await Phone.of_new_user(served)
    register = register_of(served)
    told = {"recipient": "The court of Rome", "what": "his number", "why": "case 12"}
    await register.add(phone.user_id, by=OPS, **told)
    [view] = await shown(served, phone)
    assert ("other", *told.values()) == (view.kind, view.recipient, view.what, view.why)
    [entry] = await served.gateway.audit.about(await user_of(served, phone))
    assert ("disclosure.added", "case 12") == (entry.entry.action, entry.reason)

    for field in told:
        with pytest.raises(InvalidField, match=field):
            await register.add(phone.user_id, by=OPS, **{**told, field: " "})
    with pytest.raises(NotFound):
        await register.add(UserId("00000000-0000-0000-0000-000000000000"), by=OPS, **told)
    assert 1 == len(await shown(served, phone))


async def test_it_is_sealed_and_goes_with_its_user(served: Served) -> None:
    phone, other = await Phone.of_new_user(served), await Phone.of_new_user(served, "Grace")
    for one in (phone, other):
        await register_of(served).add(
            one.user_id, by=OPS, recipient="The court of Rome", what="a number", why="case 12"
        )
    async with served.gateway.context.catalog.read() as connection:
        rows = (await connection.execute(select(disclosures))).all()
    assert 2 == len(rows)
    assert not any(b"Rome" in row.sealed or b"case" in row.sealed for row in rows)

    await served.gateway.context.erasure.bury_account(phone.user_id)
    await served.placed()
    async with served.gateway.context.catalog.read() as connection:
        left = (await connection.execute(select(disclosures.c.user_id))).scalars().all()
    assert [other.user_id] == left
