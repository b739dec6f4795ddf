"""
What a downloaded recording is called here.
"""

import mimetypes
from collections.abc import Mapping
from typing import Any, Final

from gateway.cli.terminal import printable

_LONGEST_NAME: Final = 200
"""Bytes; a file on its way has more behind its name, and a file system takes 255."""
_LONGEST_SUFFIX: Final = 10


def safe_name(details: Mapping[str, Any]) -> str:
    """
    Return a name for the file of a recording in the working directory, whatever it says it is called.

    No folder, no hidden file, nothing that looks like an option, nothing that a terminal would obey;
    where nothing is left of it, the recording's id.
    """
    given: str = (details["filename"] or "").replace("\\", "/").rpartition("/")[2]
    name = printable(given).replace("\ufffd", "").strip().lstrip("-. ")
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > _LONGEST_SUFFIX:
        stem, dot, suffix = name, "", ""
    if not stem:
        return str(details["id"]) + (mimetypes.guess_extension(details["filetype"] or "") or "")
    room = _LONGEST_NAME - len(f"{dot}{suffix}".encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + suffix
