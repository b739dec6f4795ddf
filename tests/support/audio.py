"""
Real speech in the formats that phones record calls in.

espeak-ng speaks a telephone call into a WAV file, PyAV encodes it: M4A with AAC, Ogg with Opus, AMR narrow band, WAV.
The speech is the same in each; the bytes of one format may differ between machines, so no test knows their hash.
"""

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final, Literal

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

AudioFormat = Literal["m4a", "ogg", "amr", "wav"]
FORMATS: Final[tuple[AudioFormat, ...]] = ("m4a", "ogg", "amr", "wav")

CALL: Final = (
    "Hello, this is the surgery. I am calling about your appointment on Thursday. "
    "Could you come at a quarter past nine instead of ten? That would help us a great deal. "
    "Yes, a quarter past nine suits me well. Shall I bring the letter from the hospital? "
    "Please do, and the list of what you take at present. Then we will see you on Thursday. "
    "Thank you very much, and goodbye. "
)


@dataclass(frozen=True)
class Encoding:
    """
    How one format is made, and what a client says it is.
    """

    media_type: str
    container: str
    codec: str
    rate: int
    bit_rate: int | None


ENCODINGS: Final[dict[AudioFormat, Encoding]] = {
    "m4a": Encoding("audio/mp4", "mp4", "aac", rate=16000, bit_rate=32000),
    "ogg": Encoding("audio/ogg", "ogg", "libopus", rate=16000, bit_rate=16000),
    "amr": Encoding("audio/amr", "amr", "libopencore_amrnb", rate=8000, bit_rate=12200),
    "wav": Encoding("audio/wav", "wav", "pcm_s16le", rate=8000, bit_rate=None),
}


class SpokenRecordings:
    """
    Spoken calls in *folder*, each made when first asked for and kept there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = cache(self._make)

    def path(self, audio_format: AudioFormat, *, calls: int = 1) -> Path:
        """
        Return the file of a conversation of *calls* calls one after the other, about 25 seconds each.
        """
        return self._made(audio_format, calls)

    def content(self, audio_format: AudioFormat, *, calls: int = 1) -> bytes:
        return self.path(audio_format, calls=calls).read_bytes()

    def _make(self, audio_format: AudioFormat, calls: int) -> Path:
        spoken = self._folder / f"spoken-{calls}.wav"
        if not spoken.exists():
            speak(CALL * calls, spoken)
        target = self._folder / f"call-{calls}.{audio_format}"
        encode(spoken, target, ENCODINGS[audio_format])
        return target


def speak(text: str, target: Path) -> None:
    """
    Speak *text* into the WAV file *target*.
    """
    subprocess.run(
        ["espeak-ng", "-v", "en-gb", "-s", "150", "--stdin", "-w", target],
        input=text.encode(),
        check=True,
    )


def encode(source: Path, target: Path, encoding: Encoding) -> None:
    """
    Encode the speech of *source* into *target*, one channel.
    """
    with av.open(str(source)) as speech, av.open(str(target), "w", format=encoding.container) as output:
        stream = output.add_stream(encoding.codec, rate=encoding.rate)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        if encoding.bit_rate is not None:
            stream.bit_rate = encoding.bit_rate
        stream.codec_context.open()
        resampler = AudioResampler(
            stream.format, stream.layout, encoding.rate, frame_size=stream.codec_context.frame_size
        )
        for frame in speech.decode(audio=0):
            for resampled in resampler.resample(frame):
                output.mux(stream.encode(resampled))
        for rest in resampler.resample(None):
            output.mux(stream.encode(rest))
        output.mux(stream.encode(None))


def spoken_seconds(file: Path) -> Fraction:
    """
    Decode *file* to its end and return how long it sounds; a container's own word is not asked.
    """
    with av.open(str(file)) as container:
        return sum(
            (Fraction(frame.samples, frame.sample_rate) for frame in container.decode(audio=0)), Fraction(0)
        )
