import av
import pytest

from tests.support.audio import ENCODINGS, FORMATS, AudioFormat, SpokenRecordings, spoken_seconds

FIRST_BYTES: dict[AudioFormat, tuple[int, bytes]] = {
    "m4a": (4, b"ftyp"),
    "ogg": (0, b"OggS"),
    "amr": (0, b"#!AMR\n"),
    "wav": (0, b"RIFF"),
}


def test_pyav_brings_every_encoder() -> None:
    missing = {encoding.codec for encoding in ENCODINGS.values()} - av.codecs_available

    assert set() == missing


@pytest.mark.parametrize("audio_format", FORMATS)
def test_is_of_its_format(spoken_recordings: SpokenRecordings, audio_format: AudioFormat) -> None:
    start, magic = FIRST_BYTES[audio_format]

    assert magic == spoken_recordings.content(audio_format)[start : start + len(magic)]


@pytest.mark.parametrize("audio_format", FORMATS)
def test_the_whole_call_can_be_heard(spoken_recordings: SpokenRecordings, audio_format: AudioFormat) -> None:
    spoken = spoken_seconds(spoken_recordings.path("wav"))

    assert spoken > 15
    assert abs(spoken_seconds(spoken_recordings.path(audio_format)) - spoken) < 0.2


def test_a_longer_conversation_is_longer(spoken_recordings: SpokenRecordings) -> None:
    once = spoken_seconds(spoken_recordings.path("amr"))

    assert spoken_seconds(spoken_recordings.path("amr", calls=3)) > 2.5 * once


def test_is_made_once(spoken_recordings: SpokenRecordings) -> None:
    first = spoken_recordings.path("ogg").stat()

    assert first.st_mtime_ns == spoken_recordings.path("ogg").stat().st_mtime_ns
