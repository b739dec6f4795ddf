"""
What goes in and out of the pretend Verify, held against what Twilio publishes.
"""

from pathlib import Path
from typing import Final

from tests.emulators.schema import Types

_TYPES: Final = Types(Path(__file__).with_name("schema.json"))

violations = _TYPES.violations
checked = _TYPES.checked
wrong_names = _TYPES.wrong_names
