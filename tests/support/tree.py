"""
The files of this project as git would commit them.
"""

import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


@cache
def committed_files() -> tuple[Path, ...]:
    """
    List the files that are tracked, or would be with the next ``git add``.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    files = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return tuple(file for file in files if file.is_file())


def text_of(file: Path) -> str:
    """
    Read *file*; what is no text gives nothing.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@cache
def project_settings() -> dict[str, Any]:
    """
    Read pyproject.toml.
    """
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
