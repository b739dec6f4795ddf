"""
Names that every system takes, and bytes that stay the same.
"""

import hashlib
import io
import unicodedata
import zipfile
import zlib
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.archive import (
    LAYOUT,
    OPENER,
    Call,
    Member,
    Missing,
    Overview,
    Pager,
    audio_extension,
    ending,
    recording_name,
    render_page,
)

WHEN = datetime(2026, 1, 31, 14, 5, 6)  # noqa: DTZ001 - ZIP has no zones


@given(st.text(max_size=300))
def test_a_name_can_stand_on_any_system(title: str) -> None:
    name = recording_name(7, WHEN, title, "m4a")
    assert name.startswith("00007 2026-01-31 14-05")
    assert name.endswith(".m4a")
    assert len(name.encode()) < 200
    assert not set(name) & set('<>:"/\\|?*')
    assert not any(unicodedata.category(letter)[0] in "CZS" for letter in name if letter not in " +=")
    assert not name.removesuffix(".m4a").endswith((" ", "."))
    assert name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("Żółć", " Żółć"),
        ("हिन्दी 你好 שלום", " हिन्दी 你好 שלום"),
        ("../../etc/passwd", " etc passwd"),
        ("+1 (415) 555", " +1 (415) 555"),
        ("a\u202eb\x00c", " a b c"),
        ("...", ""),
        ("x" * 500, " " + "x" * 120),
    ],
)
def test_what_people_wrote_stays_as_far_as_it_can(title: str, told: str) -> None:
    assert f"00001 2026-01-31 14-05{told}.mp3" == recording_name(1, WHEN, title, "mp3")


@pytest.mark.parametrize(
    ("media_type", "file_name", "extension"),
    [
        ("audio/mp4", "x.html", "m4a"),
        ("audio/ogg; codecs=opus", None, "ogg"),
        ("text/html", "x.html", "bin"),
        ("application/octet-stream", "Call.MP3", "mp3"),
        (None, "call.exe", "bin"),
        (None, None, "bin"),
    ],
)
def test_an_extension_is_one_of_sound_or_none(
    media_type: str | None, file_name: str | None, extension: str
) -> None:
    assert extension == audio_extension(media_type, file_name)


@pytest.mark.parametrize("is_zip64", [False, True])
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_what_is_written_is_a_zip(is_zip64: bool, contents: list[bytes]) -> None:
    written, records = b"", b""
    for number, content in enumerate(contents):
        member = Member(f"f/{number} ö", len(content), zlib.crc32(content), WHEN)
        record = member.record(len(written), is_zip64=is_zip64)
        assert member.record_length(is_zip64=is_zip64) == len(record)
        header = member.header(is_zip64=is_zip64)
        assert member.length(is_zip64=is_zip64) == len(header) + len(content)
        written += header + content
        records += record
    end = ending(
        members=len(contents), directory_offset=len(written), directory_size=len(records), is_zip64=is_zip64
    )
    archive = zipfile.ZipFile(io.BytesIO(written + records + end))
    assert archive.testzip() is None
    assert contents == [archive.read(name) for name in archive.namelist()]
    assert all((2026, 1, 31, 14, 5, 6) == info.date_time for info in archive.infolist())


def test_sizes_past_four_gigabytes_are_told() -> None:
    size = 5 * 2**30
    member = Member("long.m4a", size, 1, WHEN)
    record = member.record(6 * 2**30, is_zip64=True)
    end = ending(members=1, directory_offset=7 * 2**30, directory_size=len(record), is_zip64=True)

    class Sparse(io.BytesIO):
        """
        As if the archive stood before these bytes.
        """

        at = 0

        def seek(self, offset: int, whence: int = 0) -> int:
            whole = 7 * 2**30 + len(record + end)
            self.at = {0: offset, 1: self.at + offset, 2: whole + offset}[whence]
            return self.at

        def tell(self) -> int:
            return self.at

        def read(self, count: int | None = -1) -> bytes:
            first = self.at - 7 * 2**30
            last = None if count is None or count < 0 else first + count
            found = (record + end)[first:last]
            self.at += len(found)
            return found

    [info] = zipfile.ZipFile(Sparse()).infolist()
    assert (size, 6 * 2**30) == (info.file_size, info.header_offset)


def test_the_same_values_give_the_same_bytes_or_the_layout_has_another_number() -> None:
    """
    Where this fails, archives that are offered now have other bytes after the upgrade: raise `LAYOUT`, then change the hash.
    """
    call = Call(
        number=1,
        title="Garden <centre>",
        direction="Incoming",
        when="2026-01-31 14:05 UTC",
        size=200_847,
        duration_ms=61_000,
        party="+1 415 555 0100",
        labels=("a", "b"),
        note="first\nsecond",
        file="recordings/00001 ö.m4a",
        sealed_file="sealed/x.recg",
        missing=None,
    )
    lost = Call(
        number=2,
        title="Recording",
        direction="",
        when="2026-01-31 14:05 UTC",
        size=1,
        duration_ms=None,
        party="",
        labels=(),
        note="",
        file=None,
        sealed_file=None,
        missing=Missing("erased"),
    )
    overview = Overview(
        name="Ada",
        began="31 January 2026, 14:05 UTC",
        recordings=501,
        has_audio=True,
        has_sealed=True,
        missing=[(1, 1)],
        personal=[("personal/account.json", "Your account")],
    )
    member = Member("ö", 5, 7, WHEN)
    bytes_of_all = b"".join(
        [
            render_page([call, lost], Pager(number=1, pages=3), overview),
            render_page([], Pager(number=2, pages=3), None),
            member.header(is_zip64=False),
            member.header(is_zip64=True),
            member.record(9, is_zip64=False),
            member.record(9, is_zip64=True),
        ]
    )
    assert (1, "0e01104a1051e11b316ba6bb26701e9c6cd4f2bec6727a91fd48226ab2ae165c") == (
        LAYOUT,
        hashlib.sha256(bytes_of_all).hexdigest(),
    )


def test_the_opener_is_a_program_of_old_pythons_too() -> None:
    compile(OPENER, "open_sealed.py", "exec")
    assert b"match " not in OPENER
