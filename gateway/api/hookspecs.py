"""
The hooks that a plugin can implement.

There are two; a plugin has one of them, or both.
pluggy finds what plugins bring and does nothing else here.
It does not await, so the contracts themselves are typed protocols: `gateway.api.Backend`, `gateway.api.CodeProvider`.
"""

from collections.abc import Iterable
from typing import Any, Final

import pluggy

from gateway.api.backend import BackendKind
from gateway.api.identity import IdentityKind

PROJECT: Final = "gateway"
"""The name under which pluggy tells our marks from those of others."""

ENTRY_POINT_GROUP: Final = "gateway.plugins"
IDENTITY_ENTRY_POINT_GROUP: Final = "gateway.identities"
"""
Where a distribution names the identity kinds of its plugins, each leading to the same module as the plugin.

Not needed, but without it a gateway where people sign in by such a kind imports every plugin until it has found it.
"""
"""The entry point group in which a distribution names its plugin module."""

hookspec: Final = pluggy.HookspecMarker(PROJECT)

hookimpl: Final = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's implementation of a hook."""


@hookspec
def gateway_register_backends() -> Iterable[BackendKind[Any]]:
    """
    Return the backend kinds that this distribution brings.

    Called once, at start.
    It must be quick and must not be a coroutine function; connecting is what `BackendKind.connect` is for.
    """
    return ()  # pluggy reads the signature and never calls this


@hookspec
def gateway_register_identities() -> Iterable[IdentityKind[Any]]:
    """
    Return the ways of signing in that this distribution brings.

    Called once, at start, and under the same rules.
    """
    return ()  # pluggy reads the signature and never calls this
