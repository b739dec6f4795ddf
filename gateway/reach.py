"""
The operator's own backend, and what commands work with that speak to the places themselves.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from gateway.api.backend import Backend, BackendContext
from gateway.assembly import open_links
from gateway.backends.hosted import hosted
from gateway.backends.loader import PluginSet, load_plugins
from gateway.backends.measured import Meters
from gateway.backends.near import NearBlobs
from gateway.base.clock import Clock, SystemClock
from gateway.base.data_directory import DataDirectory
from gateway.console import open_databases
from gateway.http.metrics import Metrics
from gateway.keyring import FileRootStore, Keyring
from gateway.services.audit import AuditLog
from gateway.services.checking import CheckService
from gateway.services.copying import CopyService
from gateway.services.disclosures import DisclosureRegister
from gateway.services.linked_places import LinkedPlaces
from gateway.services.places import HOME
from gateway.services.purging import PurgeService
from gateway.services.putting import BlobPutter, PartBudget
from gateway.services.work import WorkBell
from gateway.settings import Settings
from gateway.spool import Spool

log = structlog.get_logger()


async def open_home(
    settings: Settings, stack: AsyncExitStack, metrics: Metrics, clock: Clock
) -> tuple[PluginSet, Backend, NearBlobs | None]:
    """
    Load the plugins, and connect the operator's own backend; with its blobs as files, where they are files of this machine.
    """
    plugins = load_plugins(
        wanted={settings.home.kind, *settings.links.kinds},
        wanted_identities=settings.sign_in.kinds,
        disabled=settings.plugins.disabled,
        pinned=settings.plugins.pinned,
    )
    for fault in plugins.faults:
        log.error("plugin.left_out", plugin=fault.plugin, reason=str(fault), exc_info=fault.cause)
    home_settings = dict(settings.home.settings)
    if settings.home.kind == "local":
        home_settings.setdefault("root", str(DataDirectory(settings.data_dir).blobs))
    connection = await stack.enter_async_context(
        plugins.connect(settings.home.kind, BackendContext(account=HOME), home_settings)
    )
    meters = Meters(calls=metrics.backend_calls, duration=metrics.backend_duration)
    home = hosted(connection, kind=settings.home.kind, limits=settings.backends, clock=clock, meters=meters)
    await home.probe()
    open_file = plugins.kinds[settings.home.kind].open_file
    if open_file is None:
        return plugins, home, None
    near = NearBlobs(
        partial(open_file, connection),
        kind=settings.home.kind,
        meters=meters,
        clock=clock,
        most_open=settings.playback.open_files,
        idle_s=settings.playback.open_file_idle_s,
        threads=settings.playback.threads,
    )
    stack.callback(near.close)
    return plugins, home, near


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """
    What commands work with that look at the places themselves.
    """

    places: LinkedPlaces
    checks: CheckService


@asynccontextmanager
async def open_reach(settings: Settings) -> AsyncIterator[Reach]:
    """
    Open what commands need that speak to the places themselves, beside a running daemon or alone.

    Raises:
        RefusesToServe: the keys say that going on would do harm.
        BackendError: the home backend does not connect.
    """
    clock = SystemClock()
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    async with AsyncExitStack() as stack:
        catalog, keys = await open_databases(settings, stack)
        keyring = await Keyring.attach(keys, FileRootStore(directory.root), clock, block_size=1)
        stack.push_async_callback(keyring.close)
        spool = Spool.open(directory.spool, min_free_bytes=0, max_bytes=0, threads=1)
        stack.callback(spool.close)
        metrics, bell = Metrics(), WorkBell()
        plugins, home, _ = await open_home(settings, stack, metrics, clock)
        places = (
            await open_links(settings, stack, catalog, keyring, plugins, home, metrics, clock, bell)
        ).places
        purging = PurgeService(catalog, spool, places, clock)
        stack.push_async_callback(purging.close)
        copies = CopyService(
            catalog,
            keyring,
            spool,
            places,
            BlobPutter(catalog, keyring, PartBudget(settings.placement.part_memory_bytes)),
            purging,
            DisclosureRegister(catalog, keyring, AuditLog(catalog, keyring, clock), clock),
            clock,
            bell,
            default_route=settings.placement.default_route,
        )
        yield Reach(places=places, checks=CheckService(catalog, keyring, places, copies, clock, bell))
