"""
What the owner of a link can do about it.
"""

from typing import Final

from gateway.catalog import links as catalog
from gateway.catalog.links import LinkRow
from gateway.services.link_kinds import LinkKind

_BY_CONSENT: Final = {
    catalog.EXPIRING: "Link {title} again soon: what you allowed ends by itself.",
    catalog.REVOKED: "Link {title} again: what you allowed was withdrawn or has run out. "
    "What is stored there stays where it is.",
    catalog.SCOPE_MISSING: "Link {title} again and allow everything that it asks for.",
    catalog.MISCONFIGURED: "The operator of this gateway has to look at how it speaks to {title}.",
}
_BY_SETTINGS: Final = {
    catalog.REVOKED: "Link {title} again with keys that are valid.",
    catalog.SCOPE_MISSING: "Give the keys the right to list, read, write and delete, or link {title} again with others.",
    catalog.MISCONFIGURED: "Look whether the storage is still there and its keys are still valid, "
    "or link {title} again with others.",
}
_FULL: Final = "{title} is full. Make room there, or get more; storing goes on by itself then."


def advice(kind: LinkKind | None, row: LinkRow) -> str | None:
    """
    Say what the link's owner can do about it; None if nothing is wrong. *kind* is None where it is not offered any more.
    """
    if kind is None:
        return "This gateway does not offer that kind of storage at the moment; ask its operator."
    if row.state == catalog.OVER_QUOTA:
        return _FULL.format(title=kind.title)
    sentence = (_BY_SETTINGS if kind.profile is None else _BY_CONSENT).get(row.state)
    return None if sentence is None else sentence.format(title=kind.title)
