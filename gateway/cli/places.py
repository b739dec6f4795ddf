"""
``gateway link``, ``gateway route`` and ``gateway move``: one's own clouds, and what goes there.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from gateway.cli.options import run, say
from gateway.cli.server_options import server_options
from gateway.cli.terminal import local_time, printable, short_size

_TITLES: Final = ("id", "kind", "account", "state", "space", "what to do")


@click.group()
def link() -> None:
    """
    Link accounts of your own, such as a Google Drive, and take leave of them.
    """


@link.command("list")
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_all(server: str, token: str, as_json: bool) -> None:
    """
    Show linked accounts and how they are, and what can be linked.
    """
    from gateway.cli.client.places import list_links

    found = run(list_links(server, token))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from gateway.cli.tables import print_table

    rows = [_row(entry) for entry in found["links"]]
    print_table(_TITLES, rows, empty="Nothing is linked yet.", unbroken=("id",))
    kinds = ", ".join(f"{kind['kind']} ({kind['title']})" for kind in found["kinds"])
    say(
        f"Can be linked here: {printable(kinds)}."
        if kinds
        else "This gateway's operator offers no kind to link."
    )


@link.command("add")
@server_options
@click.option(
    "--set",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    help="A setting, for kinds that take some: bucket=calls.",
)
@click.option(
    "--relink", metavar="ID", help="The link that is to be linked anew; it keeps what is stored there."
)
@click.option("--no-wait", is_flag=True, help="Print the address to open, and don't wait for the answer.")
@click.argument("kind")
def add(server: str, token: str, given: Sequence[str], relink: str | None, no_wait: bool, kind: str) -> None:
    """
    Link an account of KIND; print the link's id.

    Kinds that ask for your consent print an address to open in a browser, and wait for what you answer there.
    """
    from gateway.cli.client.places import begin_link, list_links, wait_for_link

    settings = dict(_setting(text) for text in given)
    links = run(list_links(server, token))["links"]
    known = {entry["id"]: entry["checked_at"] for entry in links}
    answer = run(begin_link(server, token, kind, settings, relink=relink))
    if "authorize_url" in answer:
        if no_wait:
            click.echo(answer["authorize_url"])
            return
        say("Open this address in a browser, and allow it there:")
        say(f"  {answer['authorize_url']}")
        say(
            f"The gateway waits for the answer until {local_time(answer['expires_at'])}; Ctrl-C ends this command only."
        )
        answer = run(wait_for_link(server, token, known, kind=kind))
    click.echo(answer["id"])
    _tell(answer)


@link.command("check")
@server_options
@click.argument("link_id", metavar="ID")
def check(server: str, token: str, link_id: str) -> None:
    """
    Try a linked account now.
    """
    from gateway.cli.client.places import check_link

    answer = run(check_link(server, token, link_id))
    _tell(answer)
    if answer["state"] not in ("ok", "expiring"):
        raise click.exceptions.Exit(1)


@link.command("remove")
@server_options
@click.option(
    "--copies",
    type=click.Choice(["home", "leave", "delete"]),
    default="home",
    show_default=True,
    help="What becomes of the copies there: move them home first, leave them, or delete them.",
)
@click.argument("link_id", metavar="ID")
def remove(server: str, token: str, copies: str, link_id: str) -> None:
    """
    Unlink an account.
    """
    from gateway.cli.client.places import unlink

    run(unlink(server, token, link_id, copies, _follower()))
    say("Unlinked.")


@click.command()
@server_options
@click.option("--home/--no-home", default=None, help="Whether the operator's copy stays beside the others.")
@click.option(
    "--copy", "copies", metavar="LINK", multiple=True, help="A link to keep copies at; may be given again."
)
@click.option("--first-that-takes", is_flag=True, help="One copy, at the first of the links that takes it.")
def route(server: str, token: str, home: bool | None, copies: Sequence[str], first_that_takes: bool) -> None:
    """
    Show where new recordings go; with options, choose it.
    """
    from gateway.cli.client.places import get_route, put_route

    if home is None and not copies and not first_that_takes:
        document = run(get_route(server, token))
    else:
        wanted = {"home": home is not False, "copies": list(copies), "falls_over": first_that_takes}
        document = run(put_route(server, token, wanted))
    click.echo(json.dumps(document, indent=2))


@click.command()
@server_options
@click.argument("source")
@click.argument("target")
def move(server: str, token: str, source: str, target: str) -> None:
    """
    Move all your recordings from SOURCE to TARGET: "home", or ids of links.

    Ctrl-C ends this command only; the move goes on.
    """
    from gateway.cli.client.places import move as moved

    ended = run(moved(server, token, source, target, _follower()))
    say(f"{ended['state'].capitalize()}: {ended['done']} of {ended['total']} recordings.")
    if ended["state"] != "done":
        raise click.exceptions.Exit(1)


def _row(entry: Mapping[str, Any]) -> list[str]:
    quota = entry["quota"]
    space = "" if quota is None else short_size(quota["used"])
    if quota is not None and quota["limit"] is not None:
        space += f" of {short_size(quota['limit'])}"
    return [
        entry["id"],
        printable(entry["title"]),
        printable(entry["label"] or ""),
        entry["state"],
        space,
        printable(entry["what_to_do"] or ""),
    ]


def _tell(entry: Mapping[str, Any]) -> None:
    label = f" {printable(entry['label'])}" if entry["label"] else ""
    say(f"{printable(entry['title'])}{label}: {entry['state']}")
    if entry["what_to_do"]:
        say(printable(entry["what_to_do"]))


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text} is not NAME=VALUE", param_hint="--set")
    return name, {"true": True, "false": False}.get(value, value)


def _follower() -> Callable[[Mapping[str, Any]], None]:
    told: list[str] = []

    def follow(document: Mapping[str, Any]) -> None:
        line = f"{document['done']} of {document['total']} recordings moved"
        if document["trouble"]:
            line += f"; held up by: {printable(document['trouble'])}"
        if told[-1:] != [line]:
            told.append(line)
            say(line)

    return follow
