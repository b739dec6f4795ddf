"""
Times and sizes in words, as people read them; times are UTC.
"""

from datetime import UTC, datetime


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def day(ms: int) -> str:
    """
    Write a day, such as ``31 January 2026``.
    """
    at = _at(ms)
    return f"{at.day} {at:%B %Y}"


def moment(ms: int) -> str:
    """
    Write a day and a time.
    """
    return f"{day(ms)}, {_at(ms):%H:%M} UTC"


def iso(ms: int) -> str:
    """
    Write a time as RFC 3339 does, to the second.
    """
    return f"{_at(ms):%Y-%m-%dT%H:%M:%SZ}"


def length(ms: int) -> str:
    """
    Write a call's length as people read it, such as ``4:05`` or ``1:00:00``.
    """
    seconds = round(ms / 1000)
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}" if hours else f"{minutes}:{seconds % 60:02}"


def size(count: int) -> str:
    """
    Write bytes as people read them: decimal units, as phones show them.
    """
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def lasting(seconds: int) -> str:
    """
    Write a span of time in its largest whole unit.
    """
    for name, unit in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= unit:
            count = round(seconds / unit)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "no time"


def format_time(at_ms: int) -> str:
    """
    Write Unix milliseconds as RFC 3339 in UTC.
    """
    moment = _at(at_ms - at_ms % 1000).replace(microsecond=at_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
