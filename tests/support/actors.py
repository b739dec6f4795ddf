"""
Whoever does what operators do, where a test is about what is done.
"""

from typing import Final

from gateway.services.roles import CONSOLE, Actor

OPS: Final = Actor("console:ops", CONSOLE)
