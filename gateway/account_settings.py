"""
The settings for taking one's data along and for leaving; tables of the settings file, as `gateway.settings` has the others.
"""

from typing import Final

from gateway.base.sections import NotNegative, Positive, Section

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


class Leaving(Section, frozen=True):
    """
    How accounts end.
    """

    cooling_off_s: NotNegative = 7 * _DAY
    """How long a user who asked to be erased may change his mind, counted while the gateway runs; 0: not at all."""
    fresh_sign_in_s: Positive = 600
    """Whoever would be erased at once must have signed in within so long."""
    look_ups_interval_s: Positive = _DAY
    """The key by which people are found is replaced after somebody has left, at most once in so long."""
    look_ups_batch: Positive = 500
    """People whose look-ups are made anew in one transaction."""


class Exports(Section, frozen=True):
    """
    What users take away.
    """

    lifetime_s: Positive = 7 * _DAY
    """How long an archive is offered once it is ready; then its key is shredded."""
    at_once: Positive = 1
    per_day: Positive = 3
    downloads_at_once: Positive = 2
    """Of one user: exports that are prepared or offered, that are asked for in 24 hours, and downloads that go on."""
    max_bytes: NotNegative = 0
    """The most sound in one; 0 is no limit."""
    patience_s: NotNegative = 6 * _HOUR
    retry_s: Positive = 300
    """A place that does not answer is tried again so long, in such steps, before a recording there is left out."""
    workers: Positive = 2
