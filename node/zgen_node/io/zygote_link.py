"""The daemon's line to its zygote: start it, order forks, hear of starts and exits.

A SOCK_SEQPACKET pair: one packet is one JSON object, with its descriptors beside it, so an answer
and its pidfd cannot come apart. Orders in flight are few (``ZYGOTE_ORDERS_OPEN_MAX``), so they
never fill the socket; the zygote may block, the daemon never does.

Light on purpose: the daemon starts its zygote before it imports anything else, so both warm up at
once.
"""

import json
import os
import signal
import socket
import sys
from typing import Any, Final

from zgen.io.descriptors import receive
from zgen_node.io.config import DaemonConfig

#: Descriptor of the zygote's end.
LINK_FD: Final = 3
PACKET_BYTES_MAX: Final = 64 << 10
_FDS_COUNT_MAX: Final = 8


class ZygoteLink:
    """One zygote as its daemon sees it.

    Attributes:
        pid: Its process id.
        pidfd: Readable when it is dead.
        socket: The daemon's end; non-blocking.
    """

    __slots__ = ("pid", "pidfd", "socket")

    def __init__(self, pid: int, pidfd: int, end: socket.socket) -> None:
        """Keep the parts; ``start_zygote`` makes them."""
        self.pid = pid
        self.pidfd = pidfd
        self.socket = end

    def send(self, order: dict[str, Any], descriptors: list[int]) -> bool:
        """Send one order; False if the zygote is dying, or has enough to do.

        Raises:
            OSError: The kernel does not take it; too many descriptors are on their way, for one.
        """
        try:
            socket.send_fds(self.socket, [json.dumps(order).encode()], descriptors)
        except (ConnectionError, BlockingIOError):
            return False
        return True

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return the next answer with its descriptors, or None if there is none now."""
        try:
            packet, descriptors = receive(self.socket, PACKET_BYTES_MAX, _FDS_COUNT_MAX)
        except OSError:
            return None
        if not packet:
            return None
        answer: dict[str, Any] = json.loads(packet)
        return answer, descriptors

    def close(self) -> None:
        """Let go of the socket and of the process."""
        self.socket.close()
        os.close(self.pidfd)


def start_zygote(config: DaemonConfig, endpoint: str, incarnation: int) -> ZygoteLink:
    """Start a zygote; to be called on the daemon's main thread, since the zygote dies with that."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    facts = {
        "daemon": os.getpid(),
        "main": config.worker_main,
        "folder": config.folder,
        "node": [config.peer.hex(), incarnation, endpoint],
    }
    flags = ["-X", "dev"] if sys.flags.dev_mode else []
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *flags, "-P", "-m", "zgen_node", "zygote", json.dumps(facts)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), LINK_FD)],
            setsigmask=(),
            setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return ZygoteLink(pid, os.pidfd_open(pid), ours)
