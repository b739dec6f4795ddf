"""
``gateway serve``: the daemon in the foreground.
"""

import asyncio
import signal
from pathlib import Path

import click

from gateway.cli.options import installation_options, load_settings, say
from gateway.settings import Settings


@click.command()
@installation_options
@click.option("--host", help="Where to listen.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: 8080]")
def serve(config: Path | None, data_dir: Path | None, host: str | None, port: int | None) -> None:
    """
    Serve in the foreground until SIGTERM or Ctrl-C.
    """
    import uvloop

    from gateway.cli.hardening import harden
    from gateway.cli.logs import configure_logs

    settings = load_settings(config, data_dir, server={"host": host, "port": port})
    harden(settings.hardening)
    configure_logs(settings.log)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from gateway.app import open_gateway
    from gateway.base.clock import SystemClock
    from gateway.http.listening import start_serving

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with open_gateway(settings) as gateway:
        runner, address = await start_serving(gateway.web_app(SystemClock()), settings)
        try:
            say(
                f"Listening on {address} (people sign in at {address}/sign-in; documentation at {address}/docs)"
            )
            say(f"Data lies in {settings.data_dir}")
            if not settings.mail.host:
                say(
                    "No mail server is set ([mail]): users are told what they have to know on the pages alone."
                )
            say("To make a user and a token by hand:")
            say(f"    gateway user add --data-dir {settings.data_dir} --name NAME")
            say(f"    gateway token new --data-dir {settings.data_dir} USER-ID")
            await stopping.wait()
            say("Stopping: uploads under way keep what they brought.")
        finally:
            await runner.cleanup()
