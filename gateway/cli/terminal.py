"""
Text for a person at a terminal.
"""

import unicodedata
from datetime import datetime
from typing import Final

_DIRECTION_CHANGES: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that make a text read other than it is written."""


def printable(text: str) -> str:
    """
    Return *text* on one line, with nothing in it that would steer the terminal.

    Names and notes come from whoever called; the name of a file comes from anywhere.
    """
    return "".join(
        "\ufffd" if _steers(letter) else letter for letter in text.replace("\n", " ").replace("\t", " ")
    )


def counted(number: int, thing: str) -> str:
    """
    Write how many of a thing there are: ``1 file``, ``1,200 bytes``.
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def short_size(size: int) -> str:
    """
    Write a number of bytes for a table: ``950 B``, ``1.2 MB``.
    """
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def short_duration(duration_ms: int) -> str:
    """
    Write a duration as a player shows it: ``0:42``, ``1:02:03``.
    """
    minutes, seconds = divmod(round(duration_ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def local_time(text: str) -> str:
    """
    Write an RFC 3339 time the way the clock on this wall shows it; what is none stays as it is.
    """
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return text


def _steers(letter: str) -> bool:
    return letter in _DIRECTION_CHANGES or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")
