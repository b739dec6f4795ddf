import pytest

from gateway.cli.terminal import counted, local_time, printable, short_duration, short_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zoë, 日本, 👩‍🚀, مرحبا", "Zoë, 日本, 👩‍🚀, مرحبا"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[2J\x07\x9b\x00\x7f", "\ufffd[2J\ufffd\ufffd\ufffd\ufffd"),
        ("\u202eevil\u2066\u2028", "\ufffdevil\ufffd\ufffd"),
        ("\udcff", "\ufffd"),
    ],
)
def test_printable_leaves_words_and_takes_what_steers(text: str, expected: str) -> None:
    assert expected == printable(text)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (200_847, "200.8 kB"),
        (999_949, "999.9 kB"),
        (999_960, "1.0 MB"),
        (8_589_934_592, "8.6 GB"),
        (10**13, "10.0 TB"),
    ],
)
def test_sizes_are_short(size: int, expected: str) -> None:
    assert expected == short_size(size)


@pytest.mark.parametrize(
    ("duration_ms", "expected"),
    [(0, "0:00"), (41_600, "0:42"), (3_599_600, "1:00:00"), (3_723_000, "1:02:03")],
)
def test_durations_are_as_players_show_them(duration_ms: int, expected: str) -> None:
    assert expected == short_duration(duration_ms)


def test_counts_name_their_thing() -> None:
    assert ["0 bytes", "1 byte", "1,200 bytes"] == [counted(number, "byte") for number in (0, 1, 1200)]


def test_a_time_that_is_none_stays_as_it_is() -> None:
    assert "" == local_time("")
    assert "soon" == local_time("soon")
