"""
What commands work with: the databases and the keys, without the daemon around them.

Apart from `gateway.app` because importing that takes a second, and a command should answer sooner.
"""

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.base.clock import SystemClock
from gateway.base.data_directory import DataDirectory
from gateway.database import Database, migrate
from gateway.keyring import FileRootStore, Keyring
from gateway.services.accounts import AccountService
from gateway.services.announcing import Announcing
from gateway.services.audit import AuditLog
from gateway.services.audit_check import AuditCheck
from gateway.services.disclosures import DisclosureRegister
from gateway.services.erasure import ErasureService
from gateway.services.holds import HoldService
from gateway.services.leaving import LeavingService
from gateway.services.notices import Notices
from gateway.services.places import NoPlaces
from gateway.services.playback import LiveReads
from gateway.services.policies import PolicyService
from gateway.services.purging import PurgeService
from gateway.services.retention import RetentionService
from gateway.services.roles import CONSOLE, Actor
from gateway.services.unused_accounts import UnusedAccounts
from gateway.services.work import WorkBell
from gateway.settings import Settings
from gateway.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """
    What commands work with: beside a running daemon, or alone.

    *actor* is what the audit log calls whoever gave the command.
    *is_alone* says that no daemon runs on this data directory, and none can start before the command has ended.
    """

    settings: Settings
    catalog: Database
    keyring: Keyring
    accounts: AccountService
    erasure: ErasureService
    leaving: LeavingService
    holds: HoldService
    notices: Notices
    announcing: Announcing
    policies: PolicyService
    unused: UnusedAccounts
    retention: RetentionService
    audit: AuditLog
    audit_check: AuditCheck
    disclosures: DisclosureRegister
    actor: Actor
    is_alone: bool


@asynccontextmanager
async def open_console(settings: Settings) -> AsyncIterator[Console]:
    """
    Open what commands need: the databases and the keys, beside a running daemon or alone.

    Raises:
        RefusesToServe: the keys say that going on would do harm.
    """
    clock = SystemClock()
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    roots = FileRootStore(directory.root)
    async with AsyncExitStack() as stack:
        lock = directory.try_lock()
        if lock is not None:
            stack.enter_context(lock)
        catalog, keys = await open_databases(settings, stack)
        opened = Keyring.open if lock is not None else Keyring.attach
        # A command hands out no indexes: a block of one burns nothing.
        keyring = await opened(keys, roots, clock, block_size=1)
        stack.push_async_callback(keyring.close)
        spool = Spool.open(directory.spool, min_free_bytes=0, max_bytes=0, threads=1)
        stack.callback(spool.close)
        places = NoPlaces()
        purging = PurgeService(catalog, spool, places, clock)
        stack.push_async_callback(purging.close)
        accounts = AccountService(catalog, keyring, clock)
        notices = Notices(catalog, keyring, clock, has_mail=bool(settings.mail.host))
        announcing = Announcing(catalog, notices, clock, settings.notices)
        audit = AuditLog(catalog, keyring, clock)
        holds = HoldService(catalog, keyring, audit, clock)
        erasure = ErasureService(
            catalog, keyring, purging, places, LiveReads(), holds, audit, clock, WorkBell()
        )
        yield Console(
            settings=settings,
            catalog=catalog,
            keyring=keyring,
            accounts=accounts,
            erasure=erasure,
            leaving=LeavingService(
                catalog, keyring, erasure, holds, notices, clock, WorkBell(), settings.leaving
            ),
            retention=RetentionService(catalog, erasure.ranges, audit, clock, WorkBell(), settings.retention),
            holds=holds,
            notices=notices,
            announcing=announcing,
            policies=PolicyService(catalog, announcing, clock),
            unused=UnusedAccounts(catalog, notices, accounts, erasure, audit, settings.retention),
            audit=audit,
            audit_check=AuditCheck(catalog, keyring, audit),
            disclosures=DisclosureRegister(catalog, keyring, audit, clock),
            actor=console_actor(),
            is_alone=lock is not None,
        )


async def open_databases(settings: Settings, stack: AsyncExitStack) -> tuple[Database, Database]:
    """
    Connect both databases and bring them to the current tables.
    """
    catalog = await Database.connect(
        settings.catalog_url, schema=settings.data.catalog_schema, pool_size=settings.data.pool_size
    )
    stack.push_async_callback(catalog.close)
    keys = await Database.connect(
        settings.keys_url, schema=settings.data.keys_schema, pool_size=settings.data.pool_size
    )
    stack.push_async_callback(keys.close)
    await migrate(catalog, "gateway.catalog.migrations")
    await migrate(keys, "gateway.keyring.migrations")
    return catalog, keys


def console_actor() -> Actor:
    """
    Return what the audit log calls whoever runs this process: the Unix user, as the system knows him, whatever he sets.
    """
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)
    return Actor(f"{CONSOLE}:{name}", CONSOLE)
