"""
Names of files that every system takes: Windows, macOS, Linux, and what unpacks there.

Each begins with a number of its own, so no two are alike, also where case or accents don't count.
"""

import re
import unicodedata
from datetime import datetime
from typing import Final

_MOST_BYTES: Final = 120
"""Of what people wrote: with folders and number far from the 255 bytes of Linux and the 260 characters of Windows."""
_SAFE_SIGNS: Final = frozenset("_ .,()&'+@=-")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,5}")
_OF_MEDIA_TYPE: Final = {
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/aac": "aac",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "application/ogg": "ogg",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/vnd.wave": "wav",
    "audio/webm": "webm",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/amr": "amr",
    "audio/amr-wb": "awb",
    "audio/3gpp": "3gp",
    "audio/3gpp2": "3g2",
    "audio/x-caf": "caf",
    "video/mp4": "mp4",
    "video/3gpp": "3gp",
    "video/webm": "webm",
}
_SOUND: Final = frozenset(
    {*_OF_MEDIA_TYPE.values(), "mp4a", "oga", "wave", "wma", "aif", "aiff", "au", "mka"}
)


def recording_name(number: int, when: datetime, title: str, extension: str) -> str:
    """
    Return the name of a recording's file, such as ``00017 2026-01-31 14-05 Garden centre.m4a``.
    """
    told = safe_text(title)
    stem = f"{number:05} {when:%Y-%m-%d %H-%M}"
    return f"{stem} {told}.{extension}" if told else f"{stem}.{extension}"


def audio_extension(media_type: str | None, file_name: str | None) -> str:
    """
    Return what the name of a sound file ends with; ``bin`` where nobody said what it is, so that nothing runs it.
    """
    claimed = (media_type or "").partition(";")[0].strip().lower()
    if claimed in _OF_MEDIA_TYPE:
        return _OF_MEDIA_TYPE[claimed]
    extension = (file_name or "").rpartition(".")[2].lower()
    return extension if _EXTENSION.fullmatch(extension) and extension in _SOUND else "bin"


def safe_text(text: str) -> str:
    """
    Return the part of *text* that can stand in any file name.
    """
    normal = unicodedata.normalize("NFC", text)
    told = "".join(letter if _is_safe(letter) else " " for letter in normal)
    told = " ".join(told.split())
    while len(told.encode()) > _MOST_BYTES:
        told = told[:-1]
    # Windows drops a dot or space at the end, and a name that begins with a dot is hidden elsewhere.
    return told.strip(" .")


def _is_safe(letter: str) -> bool:
    # Letters, the marks on them, and digits, of any script.
    return letter in _SAFE_SIGNS or unicodedata.category(letter)[0] in "LMN"
