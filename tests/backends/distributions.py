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
    version: str = "1.2.3",
) -> None:
    """
    Put *distribution* with *modules* (name: source) and *plugins* (entry point: module) into the folder *site*.
    """
    for name, source in modules.items():
        (site / f"{name}.py").write_text(textwrap.dedent(source))
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = [f"{name} = {module}\n" for name, module in plugins.items()]
    (info / "entry_points.txt").write_text("".join(["[gateway.plugins]\n", *lines]))
