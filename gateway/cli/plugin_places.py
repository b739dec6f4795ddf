"""
The live places that ``gateway plugin check`` can check, each as the gateway itself connects to it.
"""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.api import Backend, BackendContext
from gateway.backends.hosted import hosted
from gateway.backends.lane import Lane
from gateway.backends.loader import PluginSet, load_plugins
from gateway.backends.measured import Meters
from gateway.base.clock import SystemClock
from gateway.base.data_directory import DataDirectory
from gateway.base.errors import ConfigurationError
from gateway.services.link_connections import provider_session
from gateway.settings import Settings

Connect = Callable[[], AbstractAsyncContextManager[Backend]]
Opening = Callable[[], AbstractAsyncContextManager[Connect]]

_ACCOUNT: Final = "check"
_LANE_PATIENCE_S: Final = 10.0


def operators_place(settings: Settings, kind: str, file: Path | None) -> Opening:
    """
    Return how to open a place of *kind* with the settings of *file*, or else the operator's home.

    Raises:
        ConfigurationError: no plugin brings the kind, or the settings do not fit it.
    """
    plugins = load_plugins(wanted={kind}, disabled=settings.plugins.disabled, pinned=settings.plugins.pinned)
    given = _settings_of(settings, kind, file)
    # Told at once, not by every test.
    plugins.connect(kind, BackendContext(account=_ACCOUNT), given)

    @asynccontextmanager
    async def opening() -> AsyncIterator[Connect]:
        yield lambda: _connected(plugins, settings, kind, given)

    return opening


def linked_place(settings: Settings, kind: str, link_id: str) -> Opening:
    """
    Return how to open the account that a user linked, as the gateway itself reaches it.

    Raises:
        ConfigurationError: there is no such link, or it is of another kind.
    """
    from gateway.reach import open_reach

    asyncio.run(_require_link(settings, kind, link_id))

    @asynccontextmanager
    async def opening() -> AsyncIterator[Connect]:
        async with open_reach(settings) as reach:
            yield lambda: reach.places.at(link_id)

    return opening


async def _require_link(settings: Settings, kind: str, link_id: str) -> None:
    from gateway.catalog.links import get_link
    from gateway.console import open_console

    async with open_console(settings) as console, console.catalog.read() as connection:
        link = await get_link(connection, link_id)
    if link is None or not link.is_live:
        raise ConfigurationError(f"no account is linked under the id {link_id}")
    if link.kind != kind:
        raise ConfigurationError(
            f"the account that is linked under the id {link_id} is of the kind {link.kind!r}"
        )


@asynccontextmanager
async def _connected(
    plugins: PluginSet, settings: Settings, kind: str, given: Mapping[str, Any]
) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        lane = None
        if plugins.kinds[kind].needs_lane:
            lane = Lane(_ACCOUNT, settings.links.lane_threads, queue=settings.links.lane_queue)
            stack.push_async_callback(lane.close, patience_s=_LANE_PATIENCE_S)
        context = BackendContext(
            account=_ACCOUNT, http=await stack.enter_async_context(provider_session()), lane=lane
        )
        backend = await stack.enter_async_context(plugins.connect(kind, context, given))
        yield hosted(
            backend, kind=kind, limits=settings.backends, clock=SystemClock(), meters=unread_meters()
        )


def unread_meters() -> Meters:
    """
    Return meters that nobody reads.
    """
    registry = CollectorRegistry()
    return Meters(
        calls=Counter("calls", "Calls.", ("kind", "operation", "outcome"), registry=registry),
        duration=Histogram("duration", "Duration.", ("kind", "operation"), registry=registry),
    )


def _settings_of(settings: Settings, kind: str, file: Path | None) -> dict[str, Any]:
    if file is not None:
        try:
            return tomllib.loads(file.read_text("utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"settings file {file}: {error}") from error
    if settings.home.kind != kind:
        raise ConfigurationError(
            f"the home is of the kind {settings.home.kind!r}; say by --settings where a place of {kind!r} is"
        )
    given = dict(settings.home.settings)
    if kind == "local":
        given.setdefault("root", str(DataDirectory(settings.data_dir).blobs))
    return given
