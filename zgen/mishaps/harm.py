"""Messages of one process, lost, repeated, kept back or late, below its session.

Rules of this file: what becomes of frames. Which ones are hit a ``Judge`` says; who sends them,
and when it is time, is not known here.

Theory of operation. The session sees none of this: what is lost here is lost to it, and what it
sends again comes by again. A message is known by its peer and its number. To lose the answer of one
that only an acknowledgement answers, its receiver keeps saying that it has not arrived, until it
arrives again; the ack of each frame is changed for that. What is kept back until it is sent again
goes after a while even if it never is.
"""

import heapq
from collections.abc import Callable
from dataclasses import field
from typing import Final

from zgen.core.effects import Transmit
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId
from zgen.limits import SECOND
from zgen.mishaps.catalogue import Action, kind_of
from zgen.mishaps.dice import Judge, Verdict
from zgen.slotted import slotted
from zgen.wire.codec import (
    FLAG_BODY,
    FLAG_PROBE,
    FLAG_UNSEQUENCED,
    Header,
    decode,
    decode_header,
    encode_header,
)
from zgen.wire.session import Hello

#: For so long a message is kept back that is never sent again, and an acknowledgement.
HELD_NS_MAX: Final = 3 * SECOND
#: Messages that are kept back or late at a time; beyond that they go as they are.
LATER_COUNT_MAX: Final = 10_000
#: Acknowledgements that are lost at a time, for each peer.
WITHHELD_COUNT_MAX: Final = 64
_OUTSIDE: Final = FLAG_UNSEQUENCED | FLAG_PROBE


@slotted
class _Line:
    """What is known of one peer.

    Attributes:
        epoch: Newest connection to it.
        sent: Greatest number sent to it.
        life: Its life, as its hello said.
        arrived: Greatest number that came from it.
        withheld: Numbers of its messages that are not acknowledged, and since when. Added when one
            arrives whose ack is lost; removed when it arrives again, or after ``HELD_NS_MAX``.
    """

    epoch: int = 0
    sent: int = 0
    life: int = 0
    arrived: int = 0
    withheld: dict[int, int] = field(default_factory=dict)


class Harm:
    """What is done to the messages of one process."""

    def __init__(
        self,
        judge: Judge,
        note: Callable[[int, Action | None], None],
        kind: Callable[[bytes], int] = kind_of,
    ) -> None:
        """Harm by ``judge``.

        Args:
            judge: Says what befalls which message.
            note: Told of each message that leaves for the first time, by its kind with None, and of
                what befell one.
            kind: Says of the body of a message what kind it counts as.
        """
        self.judge = judge
        self._note = note
        self._kind = kind
        #: Peer -> what is known of it. Never removed.
        self._lines: dict[PeerId, _Line] = {}
        #: Routing id -> peer that said hello there. Never removed.
        self._callers: dict[bytes, PeerId] = {}
        #: What goes later: when, tie-breaker, what, and its key if it is kept back for its resend.
        self._later: list[tuple[int, int, Transmit, tuple[PeerId, int, int] | None]] = []
        self._ties = 0
        #: (peer, number, kind) -> what is kept back until it is sent again; numbers are 0 outside
        #: the session. Removed by the resend, or when it is due.
        self._held: dict[tuple[PeerId, int, int], Transmit] = {}

    @property
    def next_ns(self) -> int | None:
        """When something is due."""
        return self._later[0][0] if self._later else None

    def send(self, effect: Transmit, now_ns: int) -> list[Transmit]:
        """Return what leaves now instead of ``effect``."""
        header = decode_header(effect.frames[0])
        line = self._lines.setdefault(effect.peer, _Line())
        outside = bool(header.flags & _OUTSIDE)
        if line.withheld and not outside:
            effect = self._without_ack(line, header, effect, now_ns)
        if not header.flags & FLAG_BODY:
            return [effect]
        kind = self._kind(effect.frames[1])
        again = not outside and self._is_again(line, effect.epoch, header.seq)
        if not again:
            self._note(kind, None)
        held = self._held.pop((effect.peer, header.seq, kind), None)
        if held is not None:
            return [effect, held]
        verdict = self.judge.on_send(kind, again=again, kept=not outside)
        if verdict is None:
            return [effect]
        if verdict.action in (Action.DELAY, Action.INFLIGHT_RETRY):
            if len(self._later) >= LATER_COUNT_MAX:
                return [effect]
            key = (effect.peer, header.seq, kind)
            self._keep(effect, None if verdict.action is Action.DELAY else key, verdict, now_ns)
        self._note(verdict.kind, verdict.action)
        return [effect, effect] if verdict.action is Action.DUP else []

    def due(self, now_ns: int) -> list[Transmit]:
        """Return what leaves now of what was kept."""
        found: list[Transmit] = []
        while self._later and self._later[0][0] <= now_ns:
            _, _, effect, key = heapq.heappop(self._later)
            if key is None:
                found.append(effect)
            elif self._held.get(key) is effect:
                del self._held[key]
                found.append(effect)
        return found

    def receive(self, connection: bytes, frames: list[bytes], now_ns: int) -> None:
        """Note what has arrived, before the session sees it."""
        try:
            header = decode_header(frames[0])
            if not header.flags & FLAG_BODY:
                return
            kind = self._kind(frames[1])
            if header.flags & FLAG_UNSEQUENCED:
                self._on_hello(connection, decode(frames[1:]))
        except (RemoteProtocolError, IndexError):
            return  # the session refuses it
        peer = self._callers.get(connection)
        line = self._lines.get(peer) if peer is not None else None
        if line is None or header.flags & _OUTSIDE:
            self.judge.on_receive(kind, kept=False)
            return
        has_room = len(line.withheld) < WITHHELD_COUNT_MAX
        if line.withheld.pop(header.seq, None) is not None:
            return
        if header.seq > line.arrived and self.judge.on_receive(kind, kept=has_room):
            line.withheld[header.seq] = now_ns
            self._note(kind, Action.REPLY_DROP)
        line.arrived = max(line.arrived, header.seq)

    def _on_hello(self, connection: bytes, said: object) -> None:
        if not isinstance(said, Hello):
            return
        peer, life = said.sender.peer, said.sender.incarnation
        self._callers[connection] = peer
        line = self._lines.setdefault(peer, _Line())
        if line.life and life > line.life:
            line.arrived = line.sent = 0
            line.withheld.clear()
        line.life = max(line.life, life)

    @staticmethod
    def _is_again(line: _Line, epoch: int, seq: int) -> bool:
        if epoch < line.epoch:
            line.sent = 0  # another line to the same peer
        line.epoch = epoch
        again = seq <= line.sent
        line.sent = max(line.sent, seq)
        return again

    @staticmethod
    def _without_ack(line: _Line, header: Header, effect: Transmit, now_ns: int) -> Transmit:
        """Return what leaves while an acknowledgement is lost."""
        for seq, since_ns in list(line.withheld.items()):
            if now_ns - since_ns > HELD_NS_MAX:
                del line.withheld[seq]
        ack = min([header.ack, *(seq - 1 for seq in line.withheld)])
        if ack == header.ack:
            return effect
        fewer = encode_header(header.flags, header.seq, ack)
        return Transmit(effect.peer, effect.epoch, [fewer, *effect.frames[1:]])

    def _keep(
        self, effect: Transmit, key: tuple[PeerId, int, int] | None, verdict: Verdict, now_ns: int
    ) -> None:
        self._ties += 1
        delay_ns = verdict.delay_ns if key is None else HELD_NS_MAX
        if key is not None:
            self._held[key] = effect
        heapq.heappush(self._later, (now_ns + delay_ns, self._ties, effect, key))
