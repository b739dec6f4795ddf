"""
The composition root: from settings to a running gateway.

The one place where everything meets; it decides nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from gateway.assembly import (
    Exports,
    Links,
    Telling,
    open_exports,
    open_links,
    open_operating,
    open_people,
    open_telling,
)
from gateway.backends.loader import PluginSet
from gateway.base.clock import Clock, SystemClock
from gateway.base.data_directory import DataDirectory, DataDirectoryLock
from gateway.catalog.jobs import release_leases
from gateway.catalog.notices import MAIL, MAIL_OF_RUN
from gateway.catalog.uploads import spooled_ids
from gateway.console import open_databases
from gateway.database import Database
from gateway.http.context import CONTEXT, Context
from gateway.http.metrics import Metrics
from gateway.http.middleware import create_middleware
from gateway.http.routes import add_routes
from gateway.keyring import FileRootStore, Keyring
from gateway.reach import open_home
from gateway.services.accounts import AccountService
from gateway.services.announcing import ANNOUNCE
from gateway.services.audit import AuditLog
from gateway.services.checking import CheckService
from gateway.services.copying import CopyService
from gateway.services.day_counts import DayCounts
from gateway.services.disclosures import DisclosureRegister
from gateway.services.erasure import ErasureService
from gateway.services.expiry import UploadExpiry
from gateway.services.holders import Holders
from gateway.services.holds import HoldService
from gateway.services.leaf_choice import UnusedLeaves
from gateway.services.leaving import LeavingService
from gateway.services.linking import END_GRANT
from gateway.services.look_up_replacement import LookUpReplacement
from gateway.services.moving import MoveService
from gateway.services.new_uploads import NewUploads
from gateway.services.personal_data import PersonalData
from gateway.services.placement import PlacementService
from gateway.services.playback import LiveReads, PlaybackService
from gateway.services.purging import PurgeService
from gateway.services.putting import BlobPutter, PartBudget
from gateway.services.recordings import RecordingService
from gateway.services.retention import RetentionService
from gateway.services.routing import RoutingService
from gateway.services.sealed_reading import SealedReading
from gateway.services.sending import Senders
from gateway.services.sign_in_expiry import SignInExpiry
from gateway.services.unused_accounts import UnusedAccounts
from gateway.services.uploads import UploadService
from gateway.services.views import RecordingViews
from gateway.services.whole_uploads import WholeUploads
from gateway.services.work import Courtesy, WorkBell
from gateway.settings import Settings
from gateway.spool import Spool
from gateway.web.pages import add_pages
from gateway.workers.audit_signer import AuditSigner
from gateway.workers.crews import Crew
from gateway.workers.day_counter import DayCounter
from gateway.workers.jobs import (
    Handler,
    JobWorker,
    copy_handlers,
    export_handlers,
    job_handlers,
    placing_handlers,
)
from gateway.workers.scrubber import Scrubber
from gateway.workers.supervisor import Supervisor
from gateway.workers.sweeper import (
    ExportSweeper,
    LeavingSweeper,
    RetentionSweeper,
    SignInSweeper,
    UploadSweeper,
)

log = structlog.get_logger()

_LOCK_PATIENCE_S: Final = 3.0
"""A command that holds the data directory for a moment does not make a daemon that starts just then refuse."""
_SWEEP_BATCH: Final = 500
_MANY_UPLOADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """
    The daemon's object graph.
    """

    settings: Settings
    plugins: PluginSet
    context: Context
    expiry: UploadExpiry
    worker: JobWorker
    placement: PlacementService
    copies: CopyService
    checks: CheckService
    holds: HoldService
    retention: RetentionService
    unused: UnusedAccounts
    look_ups: LookUpReplacement
    audit: AuditLog
    bell: WorkBell
    links: Links
    telling: Telling
    exports: Exports

    async def _interrupt_uploads(self, app: web.Application) -> None:
        # A phone that hangs would hold the stop up; what it brought is kept, and it comes back.
        self.context.uploads.interrupt_all()

    async def do_due_jobs(self) -> None:
        """
        Do every job that is due now, as the workers would.
        """
        while await self.worker.run_one():
            pass

    def web_app(self, clock: Clock) -> web.Application:
        """
        Return the application that serves it.
        """
        app = web.Application(middlewares=[create_middleware(clock)], client_max_size=1024 * 1024)
        app[CONTEXT] = self.context
        app.on_shutdown.append(self._interrupt_uploads)
        add_routes(app)
        add_pages(app)
        return app


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, clock: Clock | None = None, with_workers: bool = True
) -> AsyncIterator[Gateway]:
    """
    Build the daemon: lock, databases, keys, spool, backends, services; ready to serve on entering.

    Without workers no job is done by itself: whoever asked for that calls `Gateway.do_due_jobs`.

    Raises:
        RefusesToServe: another daemon has the data directory, or the keys say that serving would do harm.
        ConfigurationError: a setting is wrong.
        BackendError: the home backend does not connect.
    """
    clock = clock or SystemClock()
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    async with AsyncExitStack() as stack:
        stack.enter_context(await _locked(directory))
        catalog, keys = await open_databases(settings, stack)
        keyring = await Keyring.open(
            keys, FileRootStore(directory.root), clock, block_size=settings.keyring.index_block
        )
        stack.push_async_callback(keyring.close)
        spool = Spool.open(
            directory.spool,
            min_free_bytes=settings.spool.min_free_bytes,
            max_bytes=settings.spool.max_bytes,
            threads=settings.spool.threads,
        )
        stack.callback(spool.close)
        metrics = Metrics()
        plugins, home, near_home = await open_home(settings, stack, metrics, clock)
        placing_bell, cloud_bell, export_bell, mail_bell, mass_mail_bell = (WorkBell() for _ in range(5))
        home_bell = WorkBell(placing_bell)
        bell = WorkBell(home_bell, cloud_bell, export_bell, mail_bell, mass_mail_bell)
        links = await open_links(
            settings, stack, catalog, keyring, plugins, home, metrics, clock, bell, near_home=near_home
        )
        places = links.places
        reads = LiveReads()
        senders = Senders(settings.playback.threads)
        stack.callback(senders.close)
        default_route = settings.placement.default_route
        putter = BlobPutter(catalog, keyring, PartBudget(settings.placement.part_memory_bytes))
        purging = PurgeService(catalog, spool, places, clock)
        stack.push_async_callback(purging.close)
        views = RecordingViews(catalog)
        stack.push_async_callback(views.close)
        placement = PlacementService(catalog, views, keyring, spool, places, putter, purging, clock, bell)
        stack.push_async_callback(placement.close)
        audit = AuditLog(catalog, keyring, clock)
        disclosures = DisclosureRegister(catalog, keyring, audit, clock)
        copies = CopyService(
            catalog,
            keyring,
            spool,
            places,
            putter,
            purging,
            disclosures,
            clock,
            bell,
            default_route=default_route,
        )
        checks = CheckService(catalog, keyring, places, copies, clock, bell)
        holds = HoldService(catalog, keyring, audit, clock)

        def on_erased(delay_ms: int) -> None:
            metrics.erased.inc()
            metrics.erase_ms.inc(max(delay_ms, 0))

        erasure = ErasureService(
            catalog,
            keyring,
            purging,
            places,
            reads,
            holds,
            audit,
            clock,
            bell,
            parting_s=settings.links.parting_s,
            on_erased=on_erased,
        )
        stack.push_async_callback(erasure.close)
        accounts = AccountService(catalog, keyring, clock)
        telling = open_telling(settings, stack, catalog, keyring, accounts, metrics, clock)
        unused = UnusedAccounts(
            catalog,
            telling.notices,
            accounts,
            erasure,
            audit,
            settings.retention,
            on_stopped=metrics.accounts_stopped.set,
        )
        retention = RetentionService(
            catalog,
            erasure.ranges,
            audit,
            clock,
            bell,
            settings.retention,
            # SQLite's clock is this node's, and a clock that was handed in is not the database's.
            database_now=catalog.now_ms
            if isinstance(clock, SystemClock) and catalog.dialect == "postgresql"
            else None,
            others=[telling.expiry.tell, unused.sweep],
            on_expired=metrics.expired.inc,
            on_stopped=metrics.retention_stopped.set,
        )
        holders = Holders(handover_timeout_s=settings.uploads.handover_timeout_s)
        expiry = UploadExpiry(catalog, erasure.ranges, holders, clock, bell, settings.uploads)
        leaves = UnusedLeaves(catalog, keyring)
        new = NewUploads(keyring, leaves, spool, clock, settings.uploads)
        uploads = UploadService(
            catalog,
            keyring,
            new,
            spool,
            clock,
            home_bell,
            holders,
            expiry,
            settings.uploads,
            default_route=default_route,
            on_received=metrics.received_bytes.inc,
            on_stored=metrics.stored.inc,
        )
        whole_uploads = WholeUploads(
            catalog,
            new,
            spool,
            clock,
            placing_bell,
            holders,
            settings.uploads,
            default_route=default_route,
            on_received=metrics.received_bytes.inc,
            on_stored=metrics.stored.inc,
        )
        stack.push_async_callback(whole_uploads.close)

        moves = MoveService(catalog, copies, purging, clock, bell, end_link=links.linking.end)
        people, look_ups = await open_people(
            settings, stack, catalog, keyring, plugins, accounts, disclosures, clock, home_bell
        )
        leaving = LeavingService(
            catalog, keyring, erasure, holds, telling.notices, clock, home_bell, settings.leaving
        )
        stack.push_async_callback(leaving.close)
        routing = RoutingService(catalog, clock, default=default_route)
        playback = PlaybackService(catalog, views, keyring, spool, places, reads, bell, senders)
        # Bringing recordings home can wait for a moment, phones can't.
        courtesy = Courtesy(lambda: len(holders) >= _MANY_UPLOADS)
        personal = PersonalData(
            catalog=catalog,
            keyring=keyring,
            clock=clock,
            accounts=accounts,
            identities=people.identities,
            devices=people.devices,
            links=links.views,
            routing=routing,
            holds=holds,
            erasure=erasure,
            notices=telling.notices,
            preferences=telling.preferences,
            policies=telling.policies,
            audit=audit,
            disclosures=disclosures,
        )
        exports = open_exports(
            settings, personal, leaves, playback, SealedReading(views, keyring, places), bell, courtesy
        )
        counts = DayCounts(catalog, clock, metrics.day_readings)
        context = Context(
            settings=settings,
            catalog=catalog,
            keyring=keyring,
            accounts=accounts,
            people=people,
            operating=await open_operating(
                settings,
                stack,
                catalog,
                keyring,
                accounts,
                people,
                disclosures,
                counts,
                audit,
                holds,
                retention,
                unused,
                telling.announcing,
                clock,
                bell,
            ),
            uploads=uploads,
            whole_uploads=whole_uploads,
            recordings=RecordingService(catalog, views, keyring, clock, settings.recordings),
            playback=playback,
            routing=routing,
            moves=moves,
            linking=links.linking,
            links=links.views,
            notices=telling.notices,
            preferences=telling.preferences,
            policies=telling.policies,
            erasure=erasure,
            leaving=leaving,
            exports=exports.service,
            metrics=metrics,
        )
        # In this order: who left is noted by the newest key, and nobody is found anew who is erased.
        await look_ups.follow_keys()
        await erasure.follow_shredding_log()
        await look_ups.mend()
        await _sweep_spool(catalog, spool)
        node = directory.node_name()
        async with catalog.write() as connection:
            # This node's earlier process is dead, or the lock would not be ours.
            await release_leases(connection, holder_prefix=node)
        placings = placing_handlers(placement)
        at_home = job_handlers(erasure, retention, leaving, look_ups)
        in_clouds = copy_handlers(copies, checks, moves, erasure)
        in_clouds[END_GRANT] = links.linking.end_grant
        in_clouds[ANNOUNCE] = telling.announcing.carry_on
        of_exports = export_handlers(exports.making, exports.service)
        mails: dict[str, Handler] = {}
        mass_mails: dict[str, Handler] = {}
        if telling.mailing is not None:
            # Apart, so that a mail to one does not wait for those to many.
            mails, mass_mails = {MAIL: telling.mailing.send}, {MAIL_OF_RUN: telling.mailing.send}
        limits = settings.jobs
        crews = [
            # For what these two do nobody waits, as phones do meanwhile.
            Crew("placings", placings, placing_bell, limits.workers, courtesy),
            Crew("copies", in_clouds, cloud_bell, limits.copy_workers, courtesy),
            Crew("jobs", at_home, home_bell, limits.workers),
            Crew("exports", of_exports, export_bell, settings.exports.workers),
            Crew("mails", mails, mail_bell, settings.mail.workers),
            Crew("mass-mails", mass_mails, mass_mail_bell, settings.mail.workers),
        ]

        if with_workers:
            supervisor = Supervisor(
                {
                    "uploads": UploadSweeper(expiry, interval_s=settings.uploads.sweep_interval_s).run,
                    "sign-ins": SignInSweeper(
                        SignInExpiry(catalog, clock, settings.sign_in),
                        interval_s=settings.uploads.sweep_interval_s,
                    ).run,
                    "retention": RetentionSweeper(
                        retention, interval_s=settings.uploads.sweep_interval_s
                    ).run,
                    "leaving": LeavingSweeper(
                        leaving, look_ups, interval_s=settings.uploads.sweep_interval_s
                    ).run,
                    "exports": ExportSweeper(
                        exports.service, interval_s=settings.uploads.sweep_interval_s
                    ).run,
                    "audit": AuditSigner(
                        audit, interval_s=settings.audit.sign_interval_s, on_flaws=metrics.audit_flaws.inc
                    ).run,
                    "counts": DayCounter(counts, interval_s=settings.operators.counts_interval_s).run,
                    "links": links.health.run,
                    "scrub": Scrubber(checks, clock, settings.scrub).run,
                    **{
                        f"{crew.name}-{number}": work
                        for crew in crews
                        for number, work in enumerate(crew.loops(stack, catalog, limits, node=node))
                    },
                }
            )
            supervisor.start()
            stack.push_async_callback(supervisor.stop)
        yield Gateway(
            settings=settings,
            plugins=plugins,
            context=context,
            expiry=expiry,
            worker=JobWorker(
                catalog,
                {kind: handler for crew in crews for kind, handler in crew.handlers.items()},
                bell,
                limits,
                node=node,
            ),
            placement=placement,
            copies=copies,
            checks=checks,
            holds=holds,
            retention=retention,
            unused=unused,
            look_ups=look_ups,
            audit=audit,
            bell=bell,
            links=links,
            telling=telling,
            exports=exports,
        )


async def _locked(directory: DataDirectory) -> DataDirectoryLock:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LOCK_PATIENCE_S
    while (lock := directory.try_lock()) is None:
        if loop.time() > deadline:
            raise directory.refusal()
        await asyncio.sleep(0.1)
    return lock


async def _sweep_spool(catalog: Database, spool: Spool) -> None:
    """
    Remove files that a crash left behind and that nothing in the catalog counts on.
    """
    files = await spool.file_names()
    for first in range(0, len(files), _SWEEP_BATCH):
        batch = files[first : first + _SWEEP_BATCH]
        async with catalog.read() as connection:
            known = await spooled_ids(connection, sorted({owner for owner, _ in batch}))
        for owner, path in batch:
            if owner not in known:
                log.info("spool.swept", file=path.name)
                path.unlink(missing_ok=True)
