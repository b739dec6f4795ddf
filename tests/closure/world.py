"""
An installation with an attacker who sees everything, and what its users were promised.

The installation is a whole gateway without workers and without HTTP, in this process: it can be stopped, killed at any
point, opened again, and given an old catalog or an old key database.
"""

import asyncio
import copy
import io
import json
import shutil
import uuid
import zipfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import aiohttp

from gateway.app import Gateway, open_gateway
from gateway.base.errors import RefusesToServe
from gateway.base.ids import RecordingId, UserId
from gateway.catalog.exports import ENDED, READY
from gateway.catalog.jobs import list_jobs
from gateway.catalog.uploads import get_upload
from gateway.catalog.users import User
from gateway.console import Console, open_console
from gateway.http.context import Context
from gateway.http.listening import start_serving
from gateway.keyring.errors import KeyringError
from gateway.services.bodies import Append
from gateway.services.details import build_details
from gateway.services.errors import NotFound
from gateway.services.recordings import Filter
from gateway.settings import Settings
from tests.closure.attacker import Attacker, Loot, roots_in
from tests.closure.stores import SqliteStore, Store
from tests.closure.witness import Died, Witness
from tests.support.actors import OPS
from tests.support.clock import FakeClock
from tests.support.gateway import Served

CHUNK = 16384
DAY = 86400
KEPT_DAYS = 365


class Reached(AssertionError):
    """
    The attacker opened what a receipt says is gone.
    """


class Lost(AssertionError):
    """
    What nobody asked to erase does not open any more.
    """


class Broken(AssertionError):
    """
    Something else that was promised is not so.
    """


CallState = Literal["unfinished", "live", "unsure", "erased", "forgotten"]


@dataclass(eq=False)
class Call:
    """
    One upload or recording, as its phone knows it.

    It is *unsure* what became of it where the gateway died before it answered, or where an old catalog came back;
    it is *forgotten* where the catalog that is there now is older than it.
    """

    id: RecordingId
    owner: UserId
    content: bytes
    notes: set[str]
    """The last one, or those that the last may be."""
    received: int = 0
    state: CallState = "unfinished"
    is_asked_to_end: bool = False
    """It was asked to erase or terminate it, or that was due."""
    is_known: bool = True
    """The catalog that is there now knows where its blob is, if it has one."""
    stored_at: int | None = None
    """When it became a recording, or may have."""

    @property
    def head(self) -> bytes:
        return self.content[:CHUNK]


@dataclass
class Owner:
    id: UserId
    name: str
    state: Literal["active", "unsure", "erased", "forgotten"] = "active"


@dataclass
class Promises:
    """
    What the users were promised; copied with each copy of the catalog.
    """

    calls: dict[RecordingId, Call] = field(default_factory=dict)
    owners: dict[UserId, Owner] = field(default_factory=dict)


class Body:
    """
    The bytes of one request, in memory.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def source(self) -> None:
        return None

    def at_once(self) -> None:
        return None

    async def read(self) -> bytes:
        content, self._content = self._content, b""
        return content


class World:
    """
    One installation.
    """

    def __init__(
        self,
        data_dir: Path,
        store: Store | None = None,
        *,
        empty: Path | None = None,
        sections: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.store: Store = store or SqliteStore(data_dir, data_dir.with_name(f"{data_dir.name}-copies"))
        if empty is not None:
            shutil.copytree(empty, data_dir)
        self.attacker = Attacker()
        self.witness = Witness(data_dir, self.attacker)
        self.witness.before_receipts = self._check_receipts
        self.clock = FakeClock()
        self.promises = Promises()
        self.receipted: set[str] = set()
        """Every subject that a receipt was ever about to be stored for."""
        self.faults: list[AssertionError] = []
        self._settings = Settings.load(
            overrides={
                "data": {"dir": str(data_dir), "pool_size": 2, **self.store.settings()},
                "server": {"port": 0, "shutdown_timeout_s": 1},
                "keyring": {"index_block": 2},
                "spool": {"min_free_bytes": 0},
                "exports": {"at_once": 100, "per_day": 1000},
                # Years pass between two steps, in which nobody comes by with a token.
                "retention": {"recordings_days": KEPT_DAYS, "erase_unused_accounts": False},
                **(sections or {}),
            },
            environment={},
        )
        self._copied_promises: Promises | None = None
        self._copied_epoch: int | None = None
        self._stack: AsyncExitStack | None = None
        self._gateway: Gateway | None = None
        self._console: Console | None = None

    # The process

    @property
    def gateway(self) -> Gateway:
        assert self._gateway is not None
        return self._gateway

    @property
    def context(self) -> Context:
        return self.gateway.context

    @contextmanager
    def watched(self) -> Iterator["World"]:
        """
        Let the witness see what happens.
        """
        with self.witness.watching():
            yield self

    async def open(self) -> None:
        """
        Start the gateway.
        """
        stack = AsyncExitStack()
        self._gateway = await stack.enter_async_context(
            open_gateway(self._settings, clock=self.clock, with_workers=False)
        )
        self._stack = stack
        # As its sweeper does at once: the time is believed from here on.
        await self.gateway.retention.tick()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Served]:
        """
        Let the gateway listen.
        """
        runner, url = await start_serving(self.gateway.web_app(self.clock), self._settings)
        try:
            async with aiohttp.ClientSession(url) as session:
                yield Served(url, self.gateway, session)
        finally:
            await runner.cleanup()

    async def console(self) -> Console:
        """
        Return a command's view of the installation, from beside the gateway; it stays open as long as that.
        """
        if self._console is None:
            assert self._stack is not None
            self._console = await self._stack.enter_async_context(open_console(self._settings))
            assert not self._console.is_alone
        return self._console

    async def close(self) -> None:
        """
        Stop the gateway in good order.
        """
        stack, self._stack, self._gateway, self._console = self._stack, None, None, None
        if stack is not None:
            await stack.aclose()

    async def end(self) -> None:
        """
        Leave nothing running, however things stand.
        """
        if self.witness.is_dead:
            await self.bury_process()
        await self.close()

    async def bury_process(self) -> None:
        """
        Clear away the gateway that died.
        """
        assert self.witness.is_dead
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            # Most find out at the next thing they do; the others wait for one that did.
            _, waiting = await asyncio.wait(others, timeout=0.1)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        with suppress(Died, Exception):
            await self.close()
        self.witness.revive()

    async def survive(self, action: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """
        Do *action*; if the process dies of it, start another, and again if that dies too.
        """
        await self._live_through(action)
        while self.witness.is_dead:
            await self.bury_process()
            await self._live_through(self.open)

    async def _live_through(self, action: Callable[[], Coroutine[Any, Any, object]]) -> None:
        acting = asyncio.create_task(action())
        # A process that died tells nobody what it died of.
        acting.add_done_callback(lambda done: done.cancelled() or done.exception())
        dying = asyncio.create_task(self.witness.death.wait())
        await asyncio.wait([acting, dying], return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if not self.witness.is_dead:
            await acting

    # What an operator does

    async def copy_catalog(self) -> None:
        await self.store.copy("catalog", "old")
        self._copied_promises = copy.deepcopy(self.promises)

    async def put_old_catalog_back(self) -> None:
        """
        Restore the copy of the catalog beside the keys of now.
        """
        if self._copied_promises is None:
            return
        await self.close()
        with self.witness.looking_away():
            await self.store.put_back("catalog", "old")
        self._remember(self._copied_promises)
        await self.open()

    async def copy_keys(self) -> None:
        await self.store.copy("keys", "old")
        [self._copied_epoch] = self._epochs_of_roots()

    async def try_old_keys(self) -> None:
        """
        Try the copy of the key database beside the root store of now; then go on with the key database of now.
        """
        if self._copied_epoch is None or self._copied_epoch in self._epochs_of_roots():
            return
        self.witness.plan_no_death()
        await self.close()
        with self.witness.looking_away():
            await self.store.copy("keys", "now")
            await self.store.put_back("keys", "old")
        before = self.live_files()
        try:
            await self.open()
        except RefusesToServe as refusal:
            if not refusal.advice:
                raise Broken("the refusal of an old key database has no advice") from refusal
        else:
            raise Broken("an old key database was served")
        if before != self.live_files():
            raise Broken("the root store was changed by looking at an old key database")
        with self.witness.looking_away():
            await self.store.put_back("keys", "now")
        await self.open()

    def _epochs_of_roots(self) -> list[int]:
        return sorted(roots_in(self.live_files().get("root/slots", b"")))

    def _remember(self, copied: Promises) -> None:
        for call_id, call in self.promises.calls.items():
            then = copied.calls.get(call_id)
            if then is not None and then.state == "forgotten":
                then = None
            call.is_known = then is not None and then.state not in ("unfinished", "unsure")
            if str(call_id) in self.receipted or call.owner in self.receipted:
                call.state = "erased"
            elif then is None:
                call.state = "forgotten"
            else:
                call.notes = set(then.notes)
                call.received = then.received
                is_as_it_was = "live" == call.state == then.state and not call.is_asked_to_end
                call.state = "live" if is_as_it_was else "unsure"
                call.is_asked_to_end = then.is_asked_to_end
        for owner_id, owner in self.promises.owners.items():
            owner_then = copied.owners.get(owner_id)
            if owner_id in self.receipted:
                owner.state = "erased"
            else:
                owner.state = "forgotten" if owner_then is None else owner_then.state

    # What users do

    async def add_owner(self, *, beside: bool = False) -> Owner:
        """
        Make a user, through the daemon or by a command beside it.
        """
        accounts = (await self.console()).accounts if beside else self.context.accounts
        name = f"User {len(self.promises.owners)}"
        owner = Owner(await accounts.add_user(name=name, phone="+1 555 0100"), name)
        self.promises.owners[owner.id] = owner
        return owner

    async def user(self, owner_id: UserId) -> User:
        return await self.context.accounts.get_user(owner_id)

    async def begin(self, owner: Owner, size: int) -> Call:
        """
        Begin an upload and send nothing yet.
        """
        number = len(self.promises.calls)
        note = f"note 0 of call {number}"
        upload = await self.context.uploads.create(
            await self.user(owner.id),
            length=size,
            details=build_details({"filename": f"call-{number}.m4a", "note": note}),
            idempotency_key=None,
        )
        call = Call(upload.id, owner.id, Random(number).randbytes(size), {note})
        self.promises.calls[call.id] = call
        if size == 0:
            call.state, call.stored_at = "live", self.clock.now_ms()
        return call

    async def send(self, call: Call, size: int) -> None:
        """
        Append up to *size* bytes in one request.
        """
        body = call.content[call.received : call.received + size]
        call.state, call.stored_at = "unsure", self.clock.now_ms()
        upload = await self.context.uploads.append(
            await self.user(call.owner),
            call.id,
            Append(offset=call.received, body=Body(body), body_length=len(body)),
        )
        call.received = upload.received
        call.state = "live" if upload.state == "complete" else "unfinished"

    async def upload(self, owner: Owner, size: int, *, pieces: int = 1) -> Call:
        call = await self.begin(owner, size)
        for _ in range(pieces if size else 0):
            await self.send(call, -(-size // pieces))
        return call

    async def edit(self, call: Call, note: str) -> None:
        call.notes.add(note)
        await self.context.recordings.edit(await self.user(call.owner), call.id, {"note": note})
        call.notes = {note}

    async def erase(self, call: Call) -> None:
        """
        Erase a recording, after making sure that the attacker has it until then.
        """
        self.check_reached(call)
        await self.erase_unchecked(call)

    async def erase_unchecked(self, call: Call) -> None:
        call.state, call.is_asked_to_end = "unsure", True
        erasure = await self.context.erasure.erase_recording(call.owner, call.id, wait_s=60)
        if erasure.state == "revoked":
            raise Broken(f"{call.id} was not shredded within the request")
        call.state = "erased"

    async def terminate(self, call: Call) -> None:
        call.state, call.is_asked_to_end = "unsure", True
        await self.context.uploads.terminate(await self.user(call.owner), call.id)

    async def expire_unfinished(self) -> None:
        """
        Let so much time pass that every unfinished upload is dropped.
        """
        self._let_unfinished_end()
        self.clock.advance(8 * DAY)
        await self._sweep()

    def _let_unfinished_end(self) -> None:
        for call in self.promises.calls.values():
            if call.state == "unfinished":
                call.state, call.is_asked_to_end = "unsure", True

    async def grow_old(self, days: int) -> None:
        """
        Let so much time pass, and have expire what is overdue then, after making sure that the attacker has it until then.
        """
        self.clock.advance(days * DAY)
        stored_before = self.clock.now_ms() - KEPT_DAYS * DAY * 1000
        soon = stored_before + 2 * DAY * 1000
        overdue = [
            call
            for call in self.promises.calls.values()
            if call.stored_at is not None and call.stored_at < soon and call.state in ("live", "unsure")
        ]
        certain = [
            call
            for call in overdue
            if call.state == "live" and call.stored_at is not None and call.stored_at < stored_before
        ]
        for call in certain:
            self.check_reached(call)
        for call in overdue:
            call.state, call.is_asked_to_end = "unsure", True
        self._let_unfinished_end()
        await self._sweep()
        await self._expire()
        for call in certain:
            if str(call.id) not in self.receipted:
                raise Broken(f"{call.id} is overdue, and has no receipt")
            call.state = "erased"

    async def _expire(self) -> None:
        """
        Sweep, as an operator would have it who is asked whether he means it: a process that died may have missed years.
        """
        retention = self.gateway.retention
        await retention.tick()
        stop = (await retention.state()).stop
        if stop is not None and stop.approved_at is None:
            await retention.approve(due=stop.due, stored_before=stop.stored_before, by=OPS)
            await retention.tick()
            await self.gateway.do_due_jobs()
            # That was for what was overdue when it stopped; the next sweep has the rest.
            self.clock.advance(DAY)
            await retention.tick()
        await self.gateway.do_due_jobs()

    async def replace_look_ups(self) -> None:
        """
        Have the look-up key replaced, if somebody has left.
        """
        await self.gateway.look_ups.tick()
        await self.gateway.do_due_jobs()

    async def _sweep(self) -> None:
        while await self.gateway.expiry.expire_overdue():
            pass

    async def erase_account(self, owner: Owner) -> None:
        owner.state = "unsure"
        for call in self._calls_of(owner):
            if call.state in ("live", "unfinished"):
                call.state, call.is_asked_to_end = "unsure", True
        erasure = self.context.erasure
        salt = await erasure.bury_account(owner.id)
        await erasure.shred_account(owner.id, salt=salt)
        owner.state = "erased"
        for call in self._calls_of(owner):
            call.state = "erased"

    async def leave(self, owner: Owner) -> None:
        """
        Have a user ask to be erased, and let the days pass in which he could take that back.
        """
        owner.state = "unsure"
        self._let_unfinished_end()
        await self.context.leaving.ask(await self.user(owner.id))
        for _ in range(2):
            self.clock.advance(4 * DAY)
            await self.context.leaving.tick()
        for call in self._calls_of(owner):
            if call.state in ("live", "unfinished"):
                call.state, call.is_asked_to_end = "unsure", True
        await self.gateway.do_due_jobs()
        await self._sweep()
        if owner.id not in self.receipted:
            raise Broken(f"{owner.name} is not erased after the days that he had")
        owner.state = "erased"
        for call in self._calls_of(owner):
            call.state = "erased"

    async def export(self, owner: Owner, *include: str) -> None:
        """
        Ask for an export, which a job makes.
        """
        await self.context.exports.ask(await self.user(owner.id), include)

    async def end_export(self, owner: Owner) -> None:
        """
        End the latest export of a user.
        """
        user = await self.user(owner.id)
        offered = [export for export in await self.context.exports.list_of(user) if export.state != ENDED]
        if offered:
            await self.context.exports.end(user, offered[0].id)

    def _calls_of(self, owner: Owner) -> list[Call]:
        return [call for call in self.promises.calls.values() if call.owner == owner.id]

    # What the attacker gets

    def live_files(self) -> dict[str, bytes]:
        """
        Return what lies in the data directory besides sealed files and databases.
        """
        files: dict[str, bytes] = {}
        for entry in self.data_dir.iterdir():
            if entry.name in ("blobs", "spool") or ".db" in entry.name:
                continue
            for path in [entry] if entry.is_file() else entry.rglob("*"):
                if path.is_file():
                    files[str(path.relative_to(self.data_dir))] = path.read_bytes()
        return files

    def attack(self, *, exhaustive: bool = False) -> Loot:
        self.witness.tell_files()
        return self.attacker.attack(self.live_files(), exhaustive=exhaustive)

    def ways_to(self, loot: Loot, subject_id: str) -> list[str]:
        """
        Return by what the attacker reached a recording, an unfinished upload or an account; nothing if he did not.

        What expired together is named by its leaves, `leaves-SLOT-FIRST-LAST`, and a key of the service's own by its purpose.
        """
        if subject_id.startswith("leaves-"):
            slot, first, last = (int(number) for number in subject_id.split("-")[1:])
            return [f"leaf {index}" for of, index in loot.leaves if of == slot and first <= index <= last]
        if (service_leaf := self.attacker.records.service_leaves.get(subject_id)) is not None:
            return [f"leaf {service_leaf} of slot 0"] if (0, service_leaf) in loot.leaves else []
        subject = uuid.UUID(subject_id)
        found = [
            name
            for name, opened in (
                ("audio", loot.audio),
                ("details", loot.details),
                ("personal", loot.personal),
                ("an export", {of: found for of, found in loot.exported.items() if _in_clear(found)}),
            )
            if subject in opened
        ]
        found += [
            f"leaf {identity.index} of slot {identity.slot}"
            for identity in self.attacker.identities.get(subject, ())
            if (identity.slot, identity.index) in loot.leaves
        ]
        for slot in self.attacker.users.get(subject, ()):
            found += [f"leaf {index} of slot {slot}" for of, index in loot.leaves if of == slot]
            found += [
                f"recording {recording_id}"
                for recording_id, identities in self.attacker.identities.items()
                if any(identity.slot == slot for identity in identities)
                and (recording_id in loot.audio or recording_id in loot.details)
            ]
        return found

    def check_reached(self, call: Call) -> None:
        """
        Make sure that the attacker is good enough: what is not erased, he has.
        """
        loot = self.attack()
        if call.content and not any(part and call.content.startswith(part) for part in loot.audio[call.id]):
            raise Broken(f"the attacker does not hear {call.id}, which nobody erased")
        details = b" ".join(loot.details[call.id])
        if not any(note.encode() in details for note in call.notes):
            raise Broken(f"the attacker does not read the details of {call.id}, which nobody erased")

    def _check_receipts(self, subjects: list[str]) -> None:
        """
        Called when receipts are about to be stored: by then it must be over.
        """
        loot = self.attack()
        for subject in [one for named in subjects for one in self._subjects_of(named)]:
            self.receipted.add(subject)
            if ways := self.ways_to(loot, subject):
                # Noted instead of raised: what is raised here, a job would only try again.
                self.faults.append(Reached(f"{subject} gets a receipt, and is reached by {ways}"))

    def _subjects_of(self, subject: str) -> list[str]:
        """
        Return what a receipt is about: also each recording, where it is about some that expired together.
        """
        if not subject.startswith("leaves-"):
            return [subject]
        slot, first, last = (int(number) for number in subject.split("-")[1:])
        return [
            subject,
            *(
                str(recording_id)
                for recording_id, identities in self.attacker.identities.items()
                if any(one.slot == slot and first <= one.index <= last for one in identities)
            ),
        ]

    # What must be so

    async def check(self, *, exhaustive: bool = False) -> None:
        """
        Start anew, do what is left to do, and check every promise.
        """
        await self.survive(self.restart)
        # A death that is still planned may come in a job; the last process lives.
        await self.survive(self.gateway.do_due_jobs)
        self.witness.plan_no_death()
        await self._sweep()
        await self.gateway.do_due_jobs()
        offered = await self._check_exports()
        await self.store.tell_all(self.attacker)
        loot = self.attack(exhaustive=exhaustive)
        for subject in offered:
            if not _in_clear(loot.exported[subject]):
                raise Broken(f"the attacker does not read {subject} in an export that is offered")
        self._check_nothing_was_missed()
        for fault in self.faults:
            raise fault
        for subject in sorted(self.receipted):
            if ways := self.ways_to(loot, subject):
                raise Reached(f"{subject} has a receipt, and is reached by {ways}")
        await self.context.people.counts.look_ups.keys()
        for recordings in loot.opened_by.values():
            if len(recordings) > 1:
                raise Reached(f"one key opens {sorted(map(str, recordings))}")
        for owner in self.promises.owners.values():
            try:
                await self._check_owner(owner, loot)
            except KeyringError as error:
                raise Lost(f"the keys of {owner.name} are gone: {error}") from error
        await self._check_nothing_is_left_to_do()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def _check_nothing_is_left_to_do(self) -> None:
        async with self.context.catalog.read() as connection:
            left = await list_jobs(connection)
        if left:
            raise Broken(f"jobs are left: {left}")

    def _check_nothing_was_missed(self) -> None:
        """
        Make sure that the witness saw every sealed file.
        """
        for folder in ("spool", "blobs"):
            for path in (self.data_dir / folder).rglob("*"):
                if path.is_file() and path.stat().st_size and not self.attacker.knows_file(path.read_bytes()):
                    raise Broken(f"the witness did not see {path}")

    async def _check_owner(self, owner: Owner, loot: Loot) -> None:
        try:
            user = await self.user(owner.id)
        except NotFound:
            if owner.state == "active":
                raise Lost(f"{owner.name} is gone") from None
            if owner.state == "unsure" and owner.id not in self.receipted:
                raise Broken(f"{owner.name} is erased without a receipt") from None
            if owner.state == "erased":
                self._check_purged(self._calls_of(owner))
            return
        if owner.state in ("erased", "forgotten"):
            raise Broken(f"{owner.name} is back")
        page = await self.context.recordings.page(user, Filter(), page_size=500)
        listed = {recording.row.id: recording for recording in page.recordings}
        for call in self._calls_of(owner):
            recording = listed.pop(call.id, None)
            if recording is None:
                if call.state == "live":
                    raise Lost(f"{call.id} is no longer listed")
                is_due = call.is_known and call.is_asked_to_end and not await self._is_unfinished(call)
                if is_due and str(call.id) not in self.receipted:
                    raise Broken(f"{call.id} was to end, is not listed and has no receipt")
                continue
            if call.state in ("erased", "forgotten") or str(call.id) in self.receipted:
                raise Broken(f"{call.id} is listed, but it is {call.state}")
            if recording.details is None or recording.details.note not in call.notes:
                raise Lost(f"the details of {call.id} do not open, or are old")
            row = recording.row
            heard = b"".join(
                [part async for part in self.context.playback.open(row, start=0, length=row.size)]
            )
            if heard != call.content:
                raise Lost(f"{call.id} does not sound as it did")
            if call.head not in loot.audio[call.id]:
                raise Broken(f"the attacker does not hear {call.id}, which nobody erased")
            if not any(note.encode() in b" ".join(loot.details[call.id]) for note in call.notes):
                raise Broken(f"the attacker does not read the details of {call.id}, which nobody erased")
        if listed:
            raise Broken(f"nobody uploaded {list(listed)}")
        if owner.name.encode() not in b" ".join(loot.personal[uuid.UUID(owner.id)]):
            raise Broken(f"the attacker does not read the name of {owner.name}, who was not erased")
        self._check_purged([call for call in self._calls_of(owner) if str(call.id) in self.receipted])

    async def _check_exports(self) -> set[uuid.UUID]:
        """
        Make sure that every archive which is offered opens, and has what its user has, and nothing that is erased.

        Return the exports, and the recordings in them.
        """
        exports = self.context.exports
        offered: set[uuid.UUID] = set()
        for owner in self.promises.owners.values():
            if owner.state != "active":
                continue
            user = await self.user(owner.id)
            await exports.sweep()
            await self.gateway.do_due_jobs()
            for one in await exports.list_of(user):
                # Whoever looks has it made anew, if something in it was erased.
                await exports.get(user, one.id)
                await exports.sweep()
                await self.gateway.do_due_jobs()
                export = (await exports.get(user, one.id)).export
                if export.state == ENDED:
                    continue
                if export.state != READY:
                    raise Broken(f"export {export.id} is {export.state} with nothing left to do")
                async with exports.downloading(export) as download:
                    content = b"".join(
                        [part async for part in exports.read(download, start=0, length=export.size)]
                    )
                archive = zipfile.ZipFile(io.BytesIO(content))
                if archive.testzip() is not None:
                    raise Broken(f"the archive of {export.id} is damaged")
                entries = json.loads(archive.read("recordings-0001.json"))
                self._check_archive(owner, entries, archive, has_audio="audio" in export.include)
                offered |= {uuid.UUID(export.id)}
                offered |= {uuid.UUID(entry["id"]) for entry in entries if entry["details"]}
        return offered

    def _check_archive(
        self, owner: Owner, entries: list[dict[str, Any]], archive: zipfile.ZipFile, *, has_audio: bool
    ) -> None:
        by_id = {entry["id"]: entry for entry in entries}
        for call in self._calls_of(owner):
            entry = by_id.get(str(call.id))
            if entry is None:
                continue
            if str(call.id) in self.receipted and (entry["file"] or entry["details"]):
                raise Reached(f"{call.id} is erased, and in an export")
            if call.state != "live":
                continue
            if entry["details"] is None or (has_audio and archive.read(entry["file"]) != call.content):
                raise Lost(f"{call.id} is not in the export that it was live for")

    async def _is_unfinished(self, call: Call) -> bool:
        async with self.context.catalog.read() as connection:
            upload = await get_upload(connection, call.id)
        return upload is not None and upload.is_open

    def _check_purged(self, calls: list[Call]) -> None:
        """
        Make sure that nothing is left of *calls* where the catalog knows where to look.
        """
        gone = {call.id.bytes for call in calls if call.is_known}
        for folder in ("spool", "blobs"):
            for path in (self.data_dir / folder).rglob("*"):
                if path.is_file() and path.read_bytes()[8:24] in gone:
                    raise Broken(f"{path} is still there")


def _in_clear(opened: list[bytes]) -> bool:
    """
    Tell whether it is more than another sealed record.
    """
    return any(content[:1] in b"{[" and content[-1:] in b"}]" for content in opened if content)
