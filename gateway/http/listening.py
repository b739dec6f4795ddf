"""
Listening for requests.
"""

from typing import Final

from aiohttp import web

from gateway.base.errors import ConfigurationError
from gateway.settings import Settings

_READ_BUFFER: Final = 128 * 1024
_LONGEST_HEADER: Final = 8190


async def start_serving(app: web.Application, settings: Settings) -> tuple[web.AppRunner, str]:
    """
    Listen, and return the runner and the address that it listens on.

    Raises:
        ConfigurationError: the address cannot be had; the message names it.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        # aiohttp waits so long twice: for requests to end, and for them to notice that they must.
        shutdown_timeout=settings.server.shutdown_timeout_s / 2,
        read_bufsize=_READ_BUFFER,
        # Bodies are taken as they are sent, or an upload offset would count what nobody sent.
        auto_decompress=False,
        max_field_size=max(_LONGEST_HEADER, settings.uploads.max_metadata_bytes + 1),
    )
    await runner.setup()
    site = web.TCPSite(runner, settings.server.host, settings.server.port, backlog=settings.server.backlog)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(
            f"cannot listen on {settings.server.host}:{settings.server.port} "
            f"(settings server.host and server.port): {error.strerror or error}"
        ) from error
    host, port = runner.addresses[0][:2]
    return runner, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
