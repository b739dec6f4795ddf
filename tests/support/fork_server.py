"""
Processes forked from one that has imported the gateway already: its commands and its daemons, without the second or two
that importing takes.

There is one for each test process. What is imported there is imported once for all of them, so the list is of everything
that any of them uses: providers' libraries, and what ``gateway plugin check`` runs its tests with.
"""

import multiprocessing
from functools import cache
from multiprocessing.context import ForkServerContext
from typing import Final

_IMPORTED: Final = [
    "alembic.command",
    "gateway.app",
    "gateway.backends.local",
    "gateway.cli",
    "gateway.cli.client.downloads",
    "gateway.cli.client.erasures",
    "gateway.cli.client.listing",
    "gateway.cli.client.uploading",
    "gateway.cli.hardening",
    "gateway.cli.logs",
    "gateway.cli.tables",
    "gateway.http.shapes",
    "gateway_dropbox",
    "gateway_gdrive",
    "gateway_onedrive",
    "gateway_s3",
    "pytest",
    "rich.progress",
    "rich.table",
    "tests.support.forked_command",
    "tests.support.forked_daemon",
    "uvloop",
]


@cache
def fork_server() -> ForkServerContext:
    """
    Return where to make a `multiprocessing.Process` that is forked from there.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context
