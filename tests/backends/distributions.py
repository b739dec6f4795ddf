"""
Makes real, tiny distributions in a folder, as an installer would leave them there.
"""

import textwrap
from pathlib import Path


def install(
    site: Path,
    distribution: str,
    modules: dict[str, str],
    *,
    plugins: dict[str, str],
    identities: dict[str, str] | None = None,
    version: str = "1.2.3",
) -> None:
    """
    Put *distribution* with *modules* (name: source) and *plugins* (entry point: module) into the folder *site*.

    *identities* is what it says of the identity kinds that its plugins bring (kind: module).
    """
    for name, source in modules.items():
        (site / f"{name}.py").write_text(textwrap.dedent(source))
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    groups = {"gateway.plugins": plugins, **({"gateway.identities": identities} if identities else {})}
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]\n", *(f"{name} = {module}\n" for name, module in entries.items()))
    ]
    (info / "entry_points.txt").write_text("".join(lines))
