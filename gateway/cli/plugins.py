"""
``gateway plugin``: the plugins that are installed here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.options import installation_options, load_settings, say
from gateway.cli.plugin_check import check
from gateway.cli.plugin_new import new
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.api import BackendKind, IdentityKind
    from gateway.backends.loader import Origin


@click.group()
def plugin() -> None:
    """
    Show, check and begin storage plugins.
    """


plugin.add_command(check)
plugin.add_command(new)


@plugin.command("list")
@installation_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_all(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """
    Show what is installed, and the kinds of storage and of sign-in that it brings.

    The exit status is 1 if a plugin was left out.

    The SHA-256 is what [plugins] pinned takes.
    """
    kinds, sign_in, faults, installed = _plugins(load_settings(config, data_dir))
    if as_json:
        document = {"kinds": kinds, "sign_in_kinds": sign_in, "left_out": faults, "plugins": installed}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        from gateway.cli.tables import print_table

        about = ("plugin", "distribution", "version", "contract", "settings")
        for listed, what in ((kinds, "storage"), (sign_in, "sign-in")):
            rows = [[*list(kind.values())[:5], ", ".join(kind["settings"])] for kind in listed]
            print_table(
                (f"kind of {what}", *about),
                rows,
                empty=f"No plugin brings any kind of {what}.",
                unbroken=(f"kind of {what}",),
            )
            click.echo()
        titles = ("plugin", "distribution", "version", "state", "pinned", "SHA-256 of its files")
        rows = [
            [*list(plugin.values())[:4], "yes" if plugin["pinned"] else "no", plugin["sha256"]]
            for plugin in installed
        ]
        print_table(titles, rows, empty="No plugin is installed.", unbroken=("plugin",))
        for fault in faults:
            say(fault["reason"])
    if faults:
        raise SystemExit(1)


def _plugins(
    settings: Settings,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    from gateway.backends.loader import installed_plugins, load_plugins

    pinned = settings.plugins.pinned
    found = load_plugins(disabled=settings.plugins.disabled, pinned=pinned)
    kinds = _described(found.kinds, found.origins)
    sign_in = _described(found.identities, found.identity_origins)
    faults = [
        {
            "plugin": fault.plugin,
            "distribution": fault.distribution,
            "version": fault.version,
            "reason": str(fault),
        }
        for fault in found.faults
    ]
    origins = [*found.origins.values(), *found.identity_origins.values()]
    loaded = {(origin.plugin, origin.distribution) for origin in origins}
    installed = [
        {
            "plugin": plugin.plugin,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "state": "disabled"
            if plugin.plugin in settings.plugins.disabled
            else "loaded"
            if (plugin.plugin, plugin.distribution) in loaded
            else "left out",
            "pinned": plugin.plugin in pinned,
            "sha256": plugin.sha256,
        }
        for plugin in installed_plugins()
    ]
    return kinds, sign_in, faults, installed


def _described(
    kinds: "Mapping[str, BackendKind[Any] | IdentityKind[Any]]", origins: "Mapping[str, Origin]"
) -> list[dict[str, Any]]:
    from gateway.backends.loader import setting_names

    return [
        {
            "kind": name,
            "plugin": origins[name].plugin,
            "distribution": origins[name].distribution,
            "version": origins[name].version,
            "contract": kind.api_version,
            "settings": setting_names(kind),
        }
        for name, kind in sorted(kinds.items())
    ]
