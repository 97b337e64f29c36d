"""At which TCP addresses the processes of a node listen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tests.integration.watching import marked

#: 127.0.0.1 as the kernel writes it.
LOOPBACK: Final = "0100007F"


def fds_of(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def listening(folder: str) -> list[tuple[str, int]]:
    """Return the TCP addresses at which the processes of a node listen."""
    descriptors = [Path(f"/proc/{pid}/fd/{fd}") for pid in marked(folder) for fd in fds_of(pid)]
    inodes = [os.readlink(descriptor) for descriptor in descriptors]
    found: list[tuple[str, int]] = []
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                host, port = fields[1].split(":")
                found.append((host, int(port, 16)))
    return found
