"""
Options of the commands that speak to a gateway as one of its users.
"""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import click

from gateway.cli.options import say

F = TypeVar("F", bound=Callable[..., object])


def server_options(command: F) -> F:
    """
    Add the options that say which gateway is meant, and who asks.
    """
    command = click.option(
        "--token",
        required=True,
        envvar="GATEWAY_TOKEN",
        show_envvar=True,
        callback=_check_token,
        help="A bearer token; better in the environment, where other users of this machine don't see it.",
    )(command)
    return click.option(
        "--server",
        metavar="URL",
        default="http://127.0.0.1:8080",
        show_default=True,
        envvar="GATEWAY_URL",
        show_envvar=True,
        callback=_check_server,
        help="Where the gateway is.",
    )(command)


def _check_server(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        url = urlsplit(value)
        is_address = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        url, is_address = urlsplit(""), False
    if not is_address:
        raise click.BadParameter("is no address such as https://recordings.example", context, parameter)
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise click.BadParameter("holds more than scheme, host, port and path", context, parameter)
    if url.scheme == "http" and not _is_this_machine(url.hostname or ""):
        say(f"Warning: the token and the recordings travel to {url.hostname} unencrypted; use https.")
    return value


def _check_token(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise click.BadParameter("is no token", context, parameter)
    return value


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
