"""
``make demo-clouds``: a pretend Google Drive, OneDrive and Dropbox, and a gateway on which anyone can link them.

Everything listens on loopback and lies in a folder that goes when it ends.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import click

from gateway.base.ids import UserId
from tests.clouds.world import JSON, QUICK, links_of
from tests.emulators.cloud import Cloud
from tests.emulators.dropbox import DropboxEmulator
from tests.emulators.gdrive import DriveEmulator
from tests.emulators.onedrive import GraphEmulator
from tests.http.phone import Phone
from tests.support.environment import inline_table
from tests.support.gateway import Served, running_daemon
from tests.support.tree import ROOT

SAMPLE: Final = ROOT / "gateway" / "cli" / "sample" / "call.m4a"
PORTS: Final = {"gdrive": 8091, "onedrive": 8092, "dropbox": 8093}
LOOK_S: Final = 0.5


@asynccontextmanager
async def started_clouds(*, fixed_ports: bool) -> AsyncIterator[list[Any]]:
    """
    Start the three clouds, each with one account, at their usual ports if these are free.
    """
    async with AsyncExitStack() as stack:
        clouds: list[Any] = []
        makers: tuple[type[Cloud], ...] = (DriveEmulator, GraphEmulator, DropboxEmulator)
        for make in makers:
            try:
                cloud = stack.enter_context(make(port=PORTS[make.kind] if fixed_ports else 0))
            except OSError:
                cloud = stack.enter_context(make())
            cloud.new_account("Ada")
            clouds.append(cloud)
        yield clouds


async def play(stop: asyncio.Event, *, fixed_ports: bool) -> None:
    """
    Run it until *stop* is set.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-demo-clouds-"))
    try:
        async with started_clouds(fixed_ports=fixed_ports) as clouds:
            environment = {
                "GATEWAY_LINKS__KINDS": inline_table({cloud.kind: cloud.settings() for cloud in clouds}),
                "GATEWAY_LINKS__ATTEMPT_LIFETIME_S": "86400",
                "GATEWAY_BACKENDS__BACKOFF_BASE_MS": str(QUICK["backoff_base_ms"]),
            }
            async with running_daemon(folder / "data", environment=environment) as daemon:
                user_id, auth = daemon.new_user()
                async with aiohttp.ClientSession(daemon.url) as http:
                    phone = Phone(Served(daemon.url, None, http), UserId(user_id), auth)  # type: ignore[arg-type]
                    await _tell(phone, clouds, daemon.url)
                    following = asyncio.create_task(_follow(phone, {cloud.kind: cloud for cloud in clouds}))
                    await stop.wait()
                    following.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await following
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _tell(phone: Phone, clouds: list[Any], url: str) -> None:
    click.echo(
        "A gateway and three pretend clouds are running. Ctrl-C ends them, and removes what they kept."
    )
    click.echo()
    for cloud in clouds:
        answer = await phone.ask("POST", f"/v1/links/{cloud.kind}", JSON, b"{}")
        click.echo(f"{cloud.title}")
        click.echo(f"  look inside:  {cloud.url}/")
        click.echo(f"  link it:      {answer.document['authorize_url']}")
        click.echo()
    click.echo("Open an address under “link it” in a browser and allow it; as many of the three as you like.")
    click.echo(
        "With each that is linked, a call is uploaded that goes there. To do more, in another terminal:"
    )
    click.echo()
    click.echo("  source .venv/bin/activate")
    click.echo(
        f"  export GATEWAY_URL={url} GATEWAY_TOKEN={phone.auth['Authorization'].removeprefix('Bearer ')}"
    )
    click.echo(
        "  gateway link list; gateway recordings; gateway upload FILE; gateway delete ID; gateway scrub --help"
    )
    click.echo()


async def _follow(phone: Phone, clouds: dict[str, Any]) -> None:
    """
    Tell what happens, and upload a call with every account that is linked.
    """
    states: dict[str, str] = {}
    copies: dict[tuple[str, str], str] = {}
    while True:
        links = {link["id"]: link for link in await links_of(phone)}
        for link in links.values():
            if states.get(link["id"]) == link["state"]:
                continue
            is_new = link["id"] not in states
            states[link["id"]] = link["state"]
            click.echo(
                f"{link['title']} is {'linked' if is_new else 'now'}: {link['state']}. {link['what_to_do'] or ''}"
            )
            if is_new:
                wanted = json.dumps({"home": True, "copies": list(links)}).encode()
                await phone.ask("PUT", "/v1/route", JSON, wanted)
                recording = await phone.record(SAMPLE.read_bytes(), filename="call.m4a", filetype="audio/mp4")
                click.echo(f"A call was uploaded: recording {recording}.")
        for recording in await phone.listed():
            document = (await phone.ask("GET", f"/v1/recordings/{recording}/copies")).document
            for copy in document["copies"]:
                key = (recording, copy["place"])
                if copy["place"] in links and copies.get(key) != copy["state"]:
                    copies[key] = copy["state"]
                    cloud = clouds[links[copy["place"]]["kind"]]
                    click.echo(f"  its copy at {cloud.title} ({cloud.url}/) is {copy['state']}.")
        await asyncio.sleep(LOOK_S)


def main() -> None:
    stop = asyncio.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await play(stop, fixed_ports="--any-port" not in sys.argv[1:])
        click.echo("Ended.")

    asyncio.run(run())


main()
