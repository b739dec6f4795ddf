"""
Speak the recordings that ``gateway demo`` uploads, into gateway/cli/sample/.

    .venv/bin/python -m scripts.make_sample

Needs espeak-ng and PyAV, which ``make test`` brings; who runs the demo needs neither.
The files are committed, because the same words give other bytes with another encoder.
"""

import tempfile
from pathlib import Path
from typing import Final

from tests.support.audio import ENCODINGS, encode, speak, spoken_seconds

ROOT: Final = Path(__file__).resolve().parent.parent
SAMPLES: Final = ROOT / "gateway" / "cli" / "sample"

CALL: Final = """
Hello, lost property office, how can I help?
Good morning. I left an umbrella on the tram on Friday, the number seven, towards the harbour.
Can you tell me what it looks like?
It is green, with a wooden handle, and one of the ribs is bent. It is not worth much, but I am fond of it.
One moment, please, I am going to have a look. Yes, there is a green one here, with a wooden handle.
That must be it. Until when are you open today?
Until six o'clock. Please bring something that shows who you are.
I shall be there before five. Thank you, that is very kind.
You are welcome. Goodbye.
"""

MESSAGE: Final = """
This is the garden centre. The apple tree that you ordered has come in.
It can be collected from Tuesday on, at the side gate. Please bring a blanket for the car. Goodbye.
"""


def main() -> None:
    SAMPLES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("call", CALL), ("message", MESSAGE)):
            spoken = Path(folder) / f"{name}.wav"
            speak(" ".join(text.split()), spoken)
            target = SAMPLES / f"{name}.m4a"
            encode(spoken, target, ENCODINGS["m4a"])
            seconds = round(float(spoken_seconds(target)))
            print(f"{target.relative_to(ROOT)}: {seconds} seconds, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
