"""
Where a browser may be sent when it comes back from a provider: an open redirect would lend our name to anybody.
"""

import re
from collections.abc import Collection

from gateway.services.errors import InvalidField


def check_return(return_to: str, allowed: Collection[str]) -> None:
    """
    Make sure that *return_to* is a path here, or one of *allowed*; one of these that ends with / stands for all below it.

    Raises:
        InvalidField: it is neither.
    """
    if not return_to.isascii() or re.search(r"[\x00-\x20\x7f\\#]", return_to):
        raise InvalidField("return_to", "is no address")
    if return_to.startswith("/") and not return_to.startswith("//"):
        return
    for address in allowed:
        if return_to.partition("?")[0] == address or (
            # A browser takes %2e for a dot as well.
            address.endswith("/")
            and return_to.startswith(address)
            and ".." not in return_to.lower().replace("%2e", ".")
        ):
            return
    raise InvalidField("return_to", "is neither an address here nor one that the operator allows")
