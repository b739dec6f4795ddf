"""
Has the wheel carry the pages' scripts, which are built and not committed.
"""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PagesBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """
    Builds them before a wheel or an sdist is put together; an sdist has them already.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """
        Build, unless this is an editable install, which takes what is there.
        """
        build = Path(self.root) / "scripts" / "build-pages"
        if version != "editable" and build.exists():
            subprocess.run([build], check=True)  # noqa: S603 - our own script
        build_data["artifacts"].append("gateway/web/static/*.js")
