"""
Times as people read them, on pages and in mails.
"""

from datetime import UTC, datetime


def day(ms: int) -> str:
    """
    Write the day of a time, such as ``5 December 2026``; UTC.
    """
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{at.day} {at:%B %Y}"


def moment(ms: int) -> str:
    """
    Write a time with its minute.
    """
    return f"{day(ms)}, {datetime.fromtimestamp(ms / 1000, UTC):%H:%M} UTC"
