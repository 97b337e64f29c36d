"""Handshakes that failed: why a peer cannot be dialled, and how often strangers were refused."""

from typing import Final

from zgen.core.effects import Effect, Report
from zgen.core.handshake_events import HandshakeFailed, Refusal, StrangersRefused
from zgen.core.marks import reached
from zgen.ids import PeerId
from zgen.limits import DIALS_REFUSED_TOLD_COUNT

#: What it means for who dialled, and for who was dialled.
DIALLED: Final = {
    Refusal.OTHER_KEY: "it has another key",
    Refusal.KEY_ON_ONE_SIDE: "one of the two has a key and the other has none",
    Refusal.MALFORMED: "it does not speak this transport",
    Refusal.CUT_SHORT: "it broke the handshake off, as one does whose key is another",
    Refusal.NOBODY_DECIDES: "it lets nobody in any more",
}
REFUSED: Final = {
    Refusal.OTHER_KEY: "a process with another key was refused",
    Refusal.KEY_ON_ONE_SIDE: "a process without a key was refused, or one with a key by this one "
    "without a key",
    Refusal.MALFORMED: "a connection was refused that does not speak this transport",
    Refusal.CUT_SHORT: "a connection was closed before its handshake ended, as one is of a "
    "process without a key",
    Refusal.NOBODY_DECIDES: "what decides who is let in has failed: everybody new is refused; "
    "start this node again",
}


class Refusals:
    """Failed handshakes of one process.

    Attributes:
        counts: How many strangers were refused, by reason.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.counts: dict[Refusal, int] = {}
        #: Peer -> (why the last dial failed, how many did in a row). Added by ``dial_failed``;
        #: removed by ``forget``.
        self._dials: dict[PeerId, tuple[Refusal, int]] = {}

    def why(self, peer: PeerId) -> Refusal | None:
        """Return why the last handshake with ``peer`` failed, or None if none did."""
        found = self._dials.get(peer)
        return None if found is None else found[0]

    def dial_failed(self, event: HandshakeFailed, where: str, out: list[Effect]) -> None:
        """Note a failed dial; report it when it is clear that it was no accident."""
        _, count = self._dials.get(event.peer, (event.why, 0))
        self._dials[event.peer] = event.why, count + 1
        if count + 1 == DIALS_REFUSED_TOLD_COUNT:
            reached("refused dials reported")
            out.append(Report("error", f"no connection to {where}: {DIALLED[event.why]}"))

    def forget(self, peer: PeerId) -> None:
        """A handshake with ``peer`` succeeded, or it is not dialled any more."""
        self._dials.pop(peer, None)

    def strangers(self, event: StrangersRefused, out: list[Effect]) -> None:
        """Count refused strangers; report the 1st, and each time that their number doubles."""
        before = self.counts.get(event.why, 0)
        count = self.counts[event.why] = before + event.count
        if count.bit_length() > before.bit_length():
            reached("refused strangers reported")
            out.append(Report("warning", f"{REFUSED[event.why]} ({count})"))
