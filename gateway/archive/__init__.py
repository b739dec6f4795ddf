"""
What a user takes away: the bytes of a ZIP, the names of its files, the pages in it.

Everything here is made of values alone, and the same values give the same bytes: so an archive need not be stored
to be sent in parts. Knows neither the catalog nor any key.
"""

from gateway.archive.files import GUIDE, OPENER, STYLE
from gateway.archive.names import audio_extension, recording_name
from gateway.archive.pages import Call, Missing, Overview, Pager, render_page
from gateway.archive.zip import MOST_PLAIN_BYTES, Member, ending, ending_size

LAYOUT = 1
"""Grows whenever the same values give other bytes than before: an archive that was laid out by another is laid out anew."""

__all__ = [
    "GUIDE",
    "LAYOUT",
    "MOST_PLAIN_BYTES",
    "OPENER",
    "STYLE",
    "Call",
    "Member",
    "Missing",
    "Overview",
    "Pager",
    "audio_extension",
    "ending",
    "ending_size",
    "recording_name",
    "render_page",
]
