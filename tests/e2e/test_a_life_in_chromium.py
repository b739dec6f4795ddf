"""
The whole life of one user in one account, in a real browser: from the first code to the empty account after the last.

Codes come by the pretend Twilio, accounts are at the pretend Google, Microsoft and Dropbox, the cloud is the pretend Google Drive;
all of the browser's traffic with the gateway goes over a line that can be cut. What a person sees is stated at each station, and
what the server has.
"""

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Request, Response, Route, expect

from gateway.base.data_directory import DataDirectory
from gateway.base.ids import USER_LEAF
from gateway.catalog.users import User, iterate_users
from gateway.cli.demo.opening import open_blob, recording_of
from gateway.keyring import verify_receipt
from gateway.keyring.errors import SlotShredded
from tests.e2e import steps
from tests.e2e.chromium import Watched, chromium
from tests.emulators.cloud import Account
from tests.emulators.emulator import EmulatedClock
from tests.emulators.gdrive.cloud import DriveEmulator
from tests.emulators.oidc import SignIn
from tests.emulators.twilio import VerifyEmulator
from tests.http.newcomer import NUMBER
from tests.http.phone import blob_files, spool_files
from tests.http.test_openid import PROVIDERS, settings_of
from tests.http.test_phone_codes import Texted
from tests.http.test_phone_codes import settings_of as codes_of
from tests.support.audio import SpokenRecordings
from tests.support.clock import FakeClock
from tests.support.gateway import Served, serving
from tests.support.tcp_proxy import TcpProxy, proxying
from tests.support.waiting import until

NOW_MS = FakeClock().now_ms()
CALLS = 12
"""So many calls one after the other are five minutes, and too long for a browser to fetch all of it ahead."""


@dataclass
class Life:
    """
    One person's life on the pages, of which each station is a method.

    Attributes:
        kept: the sealed files as somebody copied them out of the cloud, by the recordings' ids.
    """

    window: Watched
    served: Served
    line: TcpProxy
    clock: FakeClock
    phone: Texted
    providers: list[SignIn]
    drive: DriveEmulator
    drive_account: Account
    call: Path
    note: Path
    long: str = ""
    short: str = ""
    kept: dict[str, bytes] = field(default_factory=dict)

    # What the server has

    async def users(self) -> list[User]:
        async with self.served.gateway.context.catalog.read() as connection:
            return [user async for user, _ in iterate_users(connection) if user.is_active]

    async def user(self) -> User:
        [user] = await self.users()
        return user

    async def status(self, path: str) -> int:
        """
        Return what this browser, with the cookies that it has, is answered.
        """
        return (await self.window.page.request.get(path)).status

    async def opened(self, recording: str) -> bytes | None:
        """
        Open the sealed file that was copied, by whatever keys there are; None if its key is shredded.
        """
        return await open_blob(self.kept[recording], DataDirectory(self.served.gateway.settings.data_dir))

    # The stations

    async def sign_in_by_phone(self) -> None:
        page = await steps.sign_in(self.window, self.served, self.phone)
        await expect(page.get_by_text("There are no recordings yet")).to_be_visible()

        assert self.phone.verify is not None
        assert [(NUMBER, "sms")] == [(sent.to, sent.channel) for sent in self.phone.verify.deliveries]
        assert 1 == len(await self.users())

    async def join_accounts_and_sign_in_by_each(self) -> None:
        page = self.window.page
        await page.get_by_role("link", name="Account").click()
        for provider in self.providers:
            self.clock.advance(60)
            await steps.press(page, f"Add {provider.title}")
            await steps.allow(page)
            await expect(page.get_by_text("Saved.")).to_be_visible()
        ways = page.get_by_role("button", name=re.compile("^Remove "))
        await expect(ways).to_have_count(4)
        await self.window.picture("account")
        identities = await self.served.gateway.context.people.identities.list_of(await self.user())
        assert ["phone", *(provider.kind for provider in self.providers)] == [
            identity.space for identity in identities
        ]

        for provider in self.providers:
            await steps.sign_out(page)
            await self.window.picture("sign-in-providers")
            assert 401 == await self.status("/v1/recordings")
            await steps.sign_in_with(page, provider.title)
            await expect(page.get_by_role("heading", name="Recordings")).to_be_visible()
            await page.goto("/account")
            await expect(page.get_by_label("Phone", exact=True)).to_have_value(NUMBER)
            await expect(ways).to_have_count(4)
        await self.user()

    async def upload_over_a_line_that_is_cut(self) -> None:
        page = self.window.page
        sent: list[tuple[str, str]] = []

        def note(request: Request) -> None:
            if "/v1/uploads" in request.url:
                sent.append((request.method, request.headers.get("upload-offset", "")))

        page.on("request", note)
        size = self.call.stat().st_size
        await page.get_by_role("link", name="Recordings").click()
        self.line.hang_after(size // 2)
        await steps.drop(page, self.call)
        await self.line.has_hung()
        # What has arrived is sealed and kept, and only what is kept need not be sent again.
        await until(lambda: size // 4 < sum(piece.stat().st_size for piece in spool_files(self.served)))

        async def is_told() -> bool:
            # Browsers send a request again by themselves before they tell a page that its connection is gone.
            self.line.reset_all()
            return await page.get_by_text("the connection is gone; trying again").is_visible()

        await until(is_told)
        await self.window.picture("upload-cut")
        self.line.flow()
        await expect(page.get_by_text("stored and sealed")).to_be_visible()
        await expect(page.get_by_text("There are no recordings yet")).to_have_count(0)
        page.remove_listener("request", note)

        assert 1 == [method for method, _ in sent].count("POST")
        offset = int(sent[-1][1])
        assert size // 4 < offset < size
        assert ("PATCH", str(offset)) == sent[-1]

        self.clock.advance(60)
        await self._choose_while_nothing_gets_through(self.note)
        await self.served.placed()
        self.short, self.long = await self.recordings()
        assert 2 == len(blob_files(self.served))

    async def _choose_while_nothing_gets_through(self, file: Path) -> None:
        """
        Add a recording by choosing its file, of whose upload not even the first request gets through at once.
        """
        page = self.window.page
        tries = 0

        async def cut(route: Route) -> None:
            nonlocal tries
            tries += 1
            await (route.abort("connectionreset") if tries == 1 else route.continue_())

        await page.route("**/v1/uploads", cut)
        await steps.choose(page, file)
        await expect(page.get_by_text("stored and sealed")).to_have_count(2)
        await page.unroute("**/v1/uploads")
        assert 2 == tries

    async def recordings(self) -> list[str]:
        answer = await self.window.page.request.get("/v1/recordings")
        return [recording["id"] for recording in (await answer.json())["recordings"]]

    async def play(self) -> None:
        page = self.window.page
        ranges: list[tuple[int, str]] = []

        def note(response: Response) -> None:
            if response.url.endswith("/audio"):
                ranges.append((response.status, response.headers.get("content-range", "")))

        await page.goto("/recordings")
        await self.window.picture("recordings")
        page.on("response", note)
        await page.get_by_role("link", name=self.call.name).click()
        assert 290 < await steps.play(page)
        page.remove_listener("response", note)
        size = self.call.stat().st_size
        starts = [int(told.removeprefix("bytes ").partition("-")[0]) for _, told in ranges]
        assert {206} == {status for status, _ in ranges}
        assert {f"{size}"} == {told.rpartition("/")[2] for _, told in ranges}
        # From the beginning, and from where it was moved to.
        assert 0 == starts[0]
        assert size // 4 < starts[-1]
        assert self.call.read_bytes() == await steps.download(page, "Download it")

    async def edit(self) -> None:
        page = self.window.page
        await page.get_by_label("Name").fill("Grace Hopper")
        await page.get_by_label("Direction").select_option("Incoming")
        await page.get_by_label("Labels, parted by commas").fill("work, navy")
        await steps.press(page, "Save")
        await expect(page.get_by_role("heading", name="Grace Hopper")).to_be_visible()
        await self.window.picture("recording")
        details = await (await page.request.get(f"/v1/recordings/{self.long}")).json()
        assert ("Grace Hopper", "in", ["work", "navy"]) == (
            details["party_name"],
            details["direction"],
            details["labels"],
        )

        await page.goto("/recordings")
        await page.get_by_text("Find a recording").click()
        await page.get_by_label("Label").fill("navy")
        await steps.press(page, "Find")
        await expect(page.get_by_role("link", name="Grace Hopper")).to_be_visible()
        await expect(page.get_by_role("link", name=self.note.name)).to_have_count(0)

    async def keep_it_in_ones_own_cloud(self) -> None:
        page = self.window.page
        await steps.link_cloud(page)
        await steps.send_new_ones_to_cloud(page)
        await steps.move_to_cloud(page, self.served, 2)
        await self.window.picture("storage")
        assert [] == blob_files(self.served)
        for key in self.drive.blob_keys(self.drive_account):
            sealed = self.drive.blob_bytes(self.drive_account, key)
            assert sealed is not None
            self.kept[recording_of(sealed)] = sealed
        assert self.call.read_bytes() == await self.opened(self.long)
        assert self.note.read_bytes() == await self.opened(self.short)

        await page.goto(f"/recordings/{self.long}")
        await expect(page.get_by_text("there, sealed")).to_be_visible()
        await expect(page.get_by_role("listitem").filter(has_text="Google Drive")).to_be_visible()
        assert self.call.read_bytes() == await steps.download(page, "Download it")

    async def delete_one(self) -> None:
        page = self.window.page
        await page.goto("/recordings")
        await page.get_by_label("Select Grace Hopper").check()
        await steps.delete_selected(self.window)
        shown = json.loads(await steps.download(page, "Save the signed receipt"))
        verify_receipt(
            shown["receipt"],
            await self.served.gateway.context.keyring.public_keys(),
            subject_id=self.long,
            salt=bytes.fromhex(shown["salt"]),
        )
        await self.served.placed()

        assert 1 == len(self.drive.blob_keys(self.drive_account))
        assert await self.opened(self.long) is None
        assert 404 == await self.status(f"/v1/recordings/{self.long}/audio")
        assert 404 == await self.status(f"/recordings/{self.long}")
        await page.goto("/recordings")
        await expect(page.get_by_role("link", name=self.note.name)).to_be_visible()
        await expect(page.get_by_label("Select ")).to_have_count(1)

    async def take_everything_away(self) -> None:
        page = self.window.page
        await page.goto("/account")
        await page.get_by_role("link", name="Take everything away").click()
        await steps.press(page, "Make a copy")
        await expect(page.get_by_text("0 of 1 done")).to_be_visible()
        await self.served.placed()
        await page.goto("/account/export")
        await self.window.picture("export")
        with zipfile.ZipFile(io.BytesIO(await steps.download(page, "Download"))) as copy:
            assert copy.testzip() is None
            [sound] = [name for name in copy.namelist() if name.startswith("recordings/")]
            assert self.note.read_bytes() == copy.read(sound)
            everything = b"".join(map(copy.read, copy.namelist()))
        assert NUMBER.encode() in everything
        assert b"Grace Hopper" not in everything

    async def leave_at_once(self) -> None:
        page = self.window.page
        leaving = await self.user()
        # Long enough for somebody to have found the browser open.
        self.clock.advance(3600)
        await page.goto("/account/delete")
        await steps.delete_account(page, at_once=True)
        await expect(page.get_by_role("alert")).to_contain_text("sign in again")
        await self.user()
        await steps.sign_out(page)
        await page.goto("/account/delete")
        await steps.prove_number(page, self.phone)
        await expect(page.get_by_role("heading", name="Delete the account?")).to_be_visible()
        cookies = await page.context.cookies()

        await steps.delete_account(page, at_once=True)
        await expect(page.get_by_role("heading", name="Gone for good")).to_be_visible()
        await self.window.picture("account-deleted")
        await self.served.placed()

        assert [] == await self.users()
        assert [] == self.drive.blob_keys(self.drive_account)
        assert all(grant.is_revoked for grant in self.drive.oauth.grants)
        with pytest.raises(SlotShredded):
            await self.served.gateway.context.keyring.leaf(leaving.key_slot, USER_LEAF)
        for recording in (self.long, self.short):
            with pytest.raises(SlotShredded):
                await self.opened(recording)
        await page.goto("/account")
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        # Nor with the cookie of before.
        await page.context.add_cookies(cookies)
        assert 401 == await self.status("/v1/recordings")
        await page.context.clear_cookies()

    async def begin_anew_with_nothing(self) -> None:
        page = self.window.page
        await page.goto("/recordings")
        await steps.prove_number(page, self.phone)
        await expect(page.get_by_text("There are no recordings yet")).to_be_visible()
        await self.window.picture("recordings-none")
        for path in (f"/v1/recordings/{self.short}", f"/v1/recordings/{self.short}/audio"):
            assert 404 == await self.status(path)
        await page.goto("/storage")
        await expect(page.get_by_text("None is linked.")).to_be_visible()
        await page.goto("/account")
        await expect(page.get_by_role("button", name=re.compile("^Remove "))).to_have_count(1)
        await expect(page.get_by_label("Name")).to_have_value("")

        # Those of whoever left are strangers now.
        await steps.sign_out(page)
        await steps.sign_in_with(page, self.providers[0].title)
        await expect(page.get_by_text("There are no recordings yet")).to_be_visible()
        assert 2 == len(await self.users())


@pytest.fixture
def long_call(spoken_recordings: SpokenRecordings, tmp_path: Path) -> Path:
    return of_the_clocks_time(shutil.copy(spoken_recordings.path("wav", calls=CALLS), tmp_path / "call.wav"))


@pytest.fixture
def note(spoken_recordings: SpokenRecordings, tmp_path: Path) -> Path:
    return of_the_clocks_time(shutil.copy(spoken_recordings.path("m4a"), tmp_path / "note to self.m4a"))


def of_the_clocks_time(file: Path) -> Path:
    """
    Have *file* been written when the test's clock stands, which is when the page says that it was recorded.
    """
    os.utime(file, ns=(NOW_MS * 10**6, NOW_MS * 10**6))
    return file


@pytest.fixture
async def life(tmp_path: Path, clock: FakeClock, long_call: Path, note: Path) -> AsyncIterator[Life]:
    with ExitStack() as emulators:
        verify = emulators.enter_context(VerifyEmulator(clock=EmulatedClock(clock)))
        providers = [emulators.enter_context(kind(clock=EmulatedClock(clock))) for kind in PROVIDERS]
        drive = emulators.enter_context(DriveEmulator())
        kinds = {
            "twilio": codes_of(verify),
            **{provider.kind: settings_of(provider) for provider in providers},
        }
        async with (
            serving(
                tmp_path / "data",
                clock=clock,
                with_workers=False,
                sign_in={"kinds": kinds, "resend_after_s": 0},
                links={"kinds": {"gdrive": {**drive.settings(), "revoke_on_unlink": True}}},
            ) as served,
            proxying(served.url) as line,
            chromium(line.url) as window,
        ):
            for provider in providers:
                provider.register(f"{line.url}/v1/auth/{provider.kind}/callback")
                provider.new_account("Ada")
            phone = Texted(served, verify=verify)
            yield Life(
                window,
                served,
                line,
                clock,
                phone,
                providers,
                drive,
                drive.new_account("Ada"),
                long_call,
                note,
            )


async def test_a_whole_life(life: Life) -> None:
    await life.sign_in_by_phone()
    await life.join_accounts_and_sign_in_by_each()
    await life.upload_over_a_line_that_is_cut()
    await life.play()
    await life.edit()
    await life.keep_it_in_ones_own_cloud()
    await life.delete_one()
    await life.take_everything_away()
    await life.leave_at_once()
    await life.begin_anew_with_nothing()
