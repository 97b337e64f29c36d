"""Which address a program means that names none."""

import os
from typing import Final

#: Names a member of the cluster to join, as an address that ``zgen.init`` takes.
ADDRESS_VARIABLE: Final = "ZGEN_ADDRESS"


def given_address(address: str | None) -> str | None:
    """Return the address that was given, or else the one that ``ZGEN_ADDRESS`` names, if any."""
    return address or os.environ.get(ADDRESS_VARIABLE) or None
