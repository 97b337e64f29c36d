"""Make the machine of a node; find out whether anybody listens at an endpoint."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from zgen.core.events import Event
from zgen.core.identity import Identity
from zgen.core.node_events import DialRefused
from zgen.exceptions import NodeStartError
from zgen.ids import ID_BYTES
from zgen.io.endpoints import parse_place
from zgen.io.loop import Loop
from zgen.limits import MEMBER_PAYLOAD_BYTES_MAX
from zgen.wire.codec import encode
from zgen.wire.lease import Shape
from zgen_node.core.member_node import MemberNode
from zgen_node.core.membership import Membership
from zgen_node.core.membership_profile import Candidate, fast, lan
from zgen_node.core.node import NodeMachine
from zgen_node.io.config import DaemonConfig

#: Name of a cluster: who has the key is of it.
_CLUSTER: Final = "zgen"
#: What the numbers in a state may grow by.
_GROWTH_BYTES: Final = 32


def machine_of(
    config: DaemonConfig, identity: Identity, total: Shape, store_bytes: int
) -> tuple[NodeMachine | MemberNode, str]:
    """Return the machine of a node and the expression that makes it.

    One that other machines reach is a member of a cluster.

    Raises:
        NodeStartError: It has more resources and labels than others can be told.
    """
    labels = tuple(sorted(config.labels.items()))
    ppm = config.memory_ppm
    node = NodeMachine(identity, total, config.prestart, store_bytes, labels, ppm)
    how = f"{identity!r}, {total!r}, {config.prestart}, {store_bytes}, {labels!r}, {ppm}"
    made_by = f"NodeMachine({how})"
    if not identity.address.tcp:
        return node, made_by
    size_bytes = len(encode(node.cluster.state())[0]) + _GROWTH_BYTES
    if size_bytes > MEMBER_PAYLOAD_BYTES_MAX:
        raise NodeStartError(
            f"the names of its resources and labels are too long for others to be told: "
            f"{size_bytes} bytes, limit {MEMBER_PAYLOAD_BYTES_MAX}"
        )
    candidate = Candidate(
        identity.address.peer,
        identity.address.tcp,
        _CLUSTER,
        identity.python,
        identity.release,
        os.urandom(ID_BYTES),
    )
    profile = fast() if config.profile == "fast" else lan()
    member = MemberNode(node, Membership(candidate, profile))
    return member, f"MemberNode({made_by}, Membership({candidate!r}, {profile!r}))"


class Dials:
    """Plain dials that tell whether anybody listens at an endpoint; nothing is said on them."""

    def __init__(self, loop: Loop, post: Callable[[Event], None]) -> None:
        """Tell ``post``."""
        self._loop = loop
        self._post = post
        #: Endpoint -> dial under way.
        self._dials: dict[str, socket.socket] = {}

    def check(self, endpoint: str) -> None:
        """Dial ``endpoint``, unless it is being dialled."""
        if endpoint in self._dials:
            return
        try:
            host, port = parse_place(endpoint)
            family, kind, _, _, where = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )[0]
            dial = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except (OSError, ValueError):
            return  # no address, or no descriptor is left: that says nothing
        number = dial.connect_ex(where)
        if number == errno.EINPROGRESS:
            self._dials[endpoint] = dial
            # What is there greets; what is not makes an error. Both can be read.
            self._loop.watch(dial.fileno(), lambda: self._on_answer(endpoint))
            return
        dial.close()
        self._judge(endpoint, number)

    def end(self) -> None:
        """Hang up."""
        for dial in self._dials.values():
            dial.close()
        self._dials.clear()

    def _on_answer(self, endpoint: str) -> None:
        dial = self._dials.pop(endpoint, None)
        if dial is None:
            return
        number = dial.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._loop.unwatch(dial.fileno())
        dial.close()
        self._judge(endpoint, number)

    def _judge(self, endpoint: str, number: int) -> None:
        if number == errno.ECONNREFUSED:
            self._post(DialRefused(endpoint))
