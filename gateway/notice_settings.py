"""
The settings for telling users something, by mail too; tables of the settings file, as `gateway.settings` has the others.
"""

from typing import Final, Literal

from gateway.base.sections import NotNegative, Port, Positive, Section

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


class Mail(Section, frozen=True):
    """
    The mail server that takes what users are told; without a host they are told on the pages alone.
    """

    host: str = ""
    port: Port = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """``tls`` from the first byte; ``none`` is refused in production, and with a password."""
    user_name: str = ""
    password: str = ""
    password_file: str = ""
    """A file that holds the password and nothing else."""
    ca_file: str = ""
    """Certificates (PEM) that are believed instead of the system's."""
    from_address: str = ""
    from_name: str = ""
    reply_to: str = ""
    timeout_s: Positive = 30
    """A server that answers nothing for so long is given up, until the next try."""
    workers: Positive = 2
    """Mails under way at once; as many more of what is told to many, so that nobody else waits for these."""
    per_minute: Positive = 600
    """Mails that this node sends in a minute, at the most."""
    retry_first_s: Positive = 60
    """A mail that the server puts off (4xx) is tried again after so long, then after twice as long, and so on."""
    retry_longest_s: Positive = 4 * _HOUR
    give_up_after_s: Positive = 5 * _DAY


class Notices(Section, frozen=True):
    """
    What users are told.
    """

    batch: Positive = 200
    """Users that one transaction tells, where all are told."""
    link_trouble_after_s: NotNegative = _HOUR
    """A linked account's trouble is told of once it has lasted so long."""
