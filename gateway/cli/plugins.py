"""
``gateway plugin``: the storage plugins that are installed here.
"""

import json
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import installation_options, load_settings, say
from gateway.settings import Settings


@click.group()
def plugin() -> None:
    """
    Show which storage plugins are installed, and what is wrong with those that were left out.
    """


@plugin.command("list")
@installation_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_all(config: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """
    Show the kinds of storage that plugins bring; the exit status is 1 if a plugin was left out.
    """
    kinds, faults = _plugins(load_settings(config, data_dir))
    if as_json:
        click.echo(json.dumps({"kinds": kinds, "left_out": faults}, indent=2, ensure_ascii=False))
    else:
        from gateway.cli.tables import print_table

        titles = ("kind", "plugin", "distribution", "version", "contract", "settings")
        rows = [[*list(kind.values())[:5], ", ".join(kind["settings"])] for kind in kinds]
        print_table(titles, rows, empty="No plugin brings any kind of storage.", unbroken=("kind",))
        for fault in faults:
            say(fault["reason"])
    if faults:
        raise SystemExit(1)


def _plugins(settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    from gateway.backends.loader import load_plugins, setting_names

    found = load_plugins(disabled=settings.plugins.disabled)
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
    return kinds, faults
