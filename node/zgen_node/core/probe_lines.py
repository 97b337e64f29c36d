"""Connections for what membership sends: opened when something is sent, closed when idle.

Rules of this file: which connections there are. What is said on them is membership's affair.

Theory of operation. A probe is a frame outside the session, so that it neither waits behind what is
large nor is sent again. A connection is named after its endpoint, since of a member to be joined
nothing more is known. One that breaks is dialled again at once. When a dial comes to nothing, a
plain one tells why: a refusal is a sign of death, and silence is none.
"""

from dataclasses import field
from typing import Any, Final

from zgen.core.deadlines import Deadlines
from zgen.core.effects import CloseConnection, Effect, OpenConnection, Transmit
from zgen.core.marks import reached
from zgen.core.node_effects import CheckDial
from zgen.ids import ID_BYTES, PeerId
from zgen.slotted import slotted
from zgen.wire.codec import FLAG_BODY, FLAG_PROBE, encode, encode_header
from zgen_node.limits import PROBE_LINE_IDLE_NS, PROBE_LINES_COUNT_MAX, PROBES_WAITING_COUNT_MAX

#: Longer than the id of any process.
_PREFIX: Final = b"probes of "
_HEADER: Final = encode_header(FLAG_BODY | FLAG_PROBE, 0, 0)


@slotted
class ProbeLine:
    """One connection, on its way or there.

    Attributes:
        endpoint: Where.
        epoch: Number of the connection.
        node: Member that is meant there; no bytes if that is not known.
        used_ns: When something was sent last.
        up: Whether it can send.
        waiting: What is sent once it can.
    """

    endpoint: str
    epoch: int
    node: bytes
    used_ns: int
    up: bool = False
    waiting: list[list[bytes]] = field(default_factory=list)


class ProbeLines:
    """The connections of one member.

    Attributes:
        lines: Name -> connection. Added by ``send``; removed by ``on_lost`` and when idle.
        deadlines: When to look for idle ones; there is one key.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.lines: dict[PeerId, ProbeLine] = {}
        self.deadlines: Deadlines[None] = Deadlines()
        #: Endpoint that is checked -> member that is meant there. Removed by ``take_refused``; the
        #: oldest go beyond the bound.
        self._checked: dict[str, bytes] = {}
        self._epochs = 0

    def send(
        self, node: bytes, endpoint: str, message: Any, now_ns: int, out: list[Effect]
    ) -> None:
        """Send a message of ``zgen.wire.membership``, once."""
        name = name_of(endpoint)
        frames = [_HEADER, *encode(message)]
        line = self.lines.pop(name, None)
        if line is None:
            self._make_room(out)
            self._epochs += 1
            line = ProbeLine(endpoint, self._epochs, node, now_ns)
            out.append(OpenConnection(name, endpoint, line.epoch))
        self.lines[name] = line  # the last one used stands last
        line.node, line.used_ns = node, now_ns
        self.deadlines.set_if_unset(None, now_ns + PROBE_LINE_IDLE_NS)
        if line.up:
            out.append(Transmit(name, line.epoch, frames))
        elif len(line.waiting) < PROBES_WAITING_COUNT_MAX:
            line.waiting.append(frames)

    def on_up(self, name: PeerId, epoch: int, out: list[Effect]) -> None:
        """Send what waited."""
        line = self.lines.get(name)
        if line is None or line.epoch != epoch:
            return
        line.up = True
        out.extend([Transmit(name, epoch, frames) for frames in line.waiting])
        line.waiting.clear()

    def on_lost(self, name: PeerId, epoch: int, out: list[Effect]) -> None:
        """Dial again, or find out whether anybody listens there."""
        line = self.lines.get(name)
        if line is None or line.epoch != epoch:
            return
        if line.up:
            self._epochs += 1
            line.epoch, line.up = self._epochs, False
            out.append(OpenConnection(name, line.endpoint, line.epoch))
            return
        del self.lines[name]
        out.append(CloseConnection(name, epoch))
        if line.node:
            if len(self._checked) >= PROBE_LINES_COUNT_MAX:
                reached("more endpoints to check than may be")
                del self._checked[next(iter(self._checked))]
            self._checked[line.endpoint] = line.node
            out.append(CheckDial(line.endpoint))

    def take_refused(self, endpoint: str) -> PeerId | None:
        """Return which member was meant where nobody listens; None if it was not checked."""
        node = self._checked.pop(endpoint, None)
        return None if node is None else PeerId(node)

    def on_timer(self, now_ns: int, out: list[Effect]) -> None:
        """Close what is idle."""
        if not self.deadlines.pop_due(now_ns):
            return
        for name, line in list(self.lines.items()):
            if line.used_ns + PROBE_LINE_IDLE_NS > now_ns:
                self.deadlines.set(None, line.used_ns + PROBE_LINE_IDLE_NS)
                break
            del self.lines[name]
            out.append(CloseConnection(name, line.epoch))

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self.lines) <= PROBE_LINES_COUNT_MAX
        for name, line in self.lines.items():
            assert name == name_of(line.endpoint)
            assert not (line.up and line.waiting), line.endpoint
        assert not self.lines or None in self.deadlines

    def _make_room(self, out: list[Effect]) -> None:
        if len(self.lines) >= PROBE_LINES_COUNT_MAX:
            reached("line for probes closed for another")
            name = next(iter(self.lines))
            out.append(CloseConnection(name, self.lines.pop(name).epoch))


def name_of(endpoint: str) -> PeerId:
    """Return by which name the connection to an endpoint goes."""
    return PeerId(_PREFIX + endpoint.encode())


def is_probe_line(name: PeerId) -> bool:
    """Return whether a connection is one for probes."""
    return len(name) != ID_BYTES
