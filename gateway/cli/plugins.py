"""
``gateway plugin``: the storage plugins that are installed here.
"""

import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import installation_options, load_settings, say
from gateway.cli.plugin_check import check
from gateway.cli.plugin_new import new
from gateway.settings import Settings


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
    Show what is installed, and the kinds of storage that it brings; the exit status is 1 if a plugin was left out.

    The SHA-256 is what [plugins] pinned takes.
    """
    kinds, faults, installed = _plugins(load_settings(config, data_dir))
    if as_json:
        document = {"kinds": kinds, "left_out": faults, "plugins": installed}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        from gateway.cli.tables import print_table

        titles = ("kind", "plugin", "distribution", "version", "contract", "settings")
        rows = [[*list(kind.values())[:5], ", ".join(kind["settings"])] for kind in kinds]
        print_table(titles, rows, empty="No plugin brings any kind of storage.", unbroken=("kind",))
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
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    from gateway.backends.loader import installed_plugins, load_plugins, setting_names

    pinned = settings.plugins.pinned
    found = load_plugins(disabled=settings.plugins.disabled, pinned=pinned)
    kinds = [
        {
            "kind": name,
            "plugin": found.origins[name].plugin,
            "distribution": found.origins[name].distribution,
            "version": found.origins[name].version,
            "contract": kind.api_version,
            "settings": setting_names(kind),
        }
        for name, kind in sorted(found.kinds.items())
    ]
    faults = [
        {
            "plugin": fault.plugin,
            "distribution": fault.distribution,
            "version": fault.version,
            "reason": str(fault),
        }
        for fault in found.faults
    ]
    loaded = {(origin.plugin, origin.distribution) for origin in found.origins.values()}
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
    return kinds, faults, installed
