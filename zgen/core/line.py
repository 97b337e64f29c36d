"""One peer's line: order, exactly once, resend, acknowledgement.

Rules of this file: a line knows sequence numbers and frames, nothing of hellos, connections to
others or what the frames mean. Its owner, ``session``, opens connections and keeps deadlines.

Theory of operation. What is sent gets the next sequence number and is kept until a cumulative ack
covers it. On a fresh connection everything kept is sent again; on a timeout only the oldest, since
its ack will jump over what arrived behind it. What arrives is delivered when it is the next in
order; what lies ahead waits, what lies behind is a repetition and only renews the ack.
"""

from collections import deque
from dataclasses import field
from enum import IntEnum

from zgen.core.effects import PushToken
from zgen.core.marks import reached
from zgen.limits import (
    ACK_AFTER_COUNT,
    QUIET_LINE_NS,
    REORDER_COUNT_MAX,
    RESEND_FIRST_NS,
    RESEND_NS_MAX,
    RESEND_NS_PER_BYTE,
)
from zgen.slotted import slotted
from zgen.wire.codec import FLAG_BODY, Header, encode_header
from zgen.wire.session import Address


class Due(IntEnum):
    """What a deadline of a line is for."""

    ACK = 1
    RESEND = 2
    REDIAL = 3
    QUIET = 4
    LEAVE = 5


@slotted
class Kept:
    """A message that is not acknowledged yet.

    Attributes:
        seq: Its number, from 1.
        frames: Body and buffers.
        token: What its sender wants to be told if it never arrives; None for nothing.
        item_bytes: Bytes of stream items in it, for the bound on unacknowledged ones.
        size_bytes: Bytes of its frames.
        sent_ns: When it last left, or None if it never did.
    """

    seq: int
    frames: list[bytes]
    token: PushToken | None
    item_bytes: int
    size_bytes: int
    sent_ns: int | None = None


@slotted
class Line:
    """Both directions of the talk with one life of one peer.

    Attributes:
        address: The peer.
        epoch: Number of our newest connection to it, from 1; 0 before the first.
        up: Whether that connection can send.
        redials: Failed connections in a row.
        hello_epoch: Newest connection of its that said hello.
        hello_acked: Whether it is sure that the hello on our newest connection arrived.
        proof_seq: Last number that left before our newest connection; an ack beyond it is that
            proof.
        seq: Last number given to a message.
        kept: Messages not acknowledged, oldest first. Added by ``keep``; removed by ``absorb_ack``.
        item_bytes_kept: Sum of their item bytes.
        bytes_kept: Sum of their sizes.
        resend_wait_ns: Current wait before the oldest goes again.
        arrived: Every message up to here was delivered.
        early: Messages that came before an earlier one. Added by ``absorb``; removed as gaps close.
        acks_owed: Messages delivered or repeated since our last ack left.
        closing: Whether a DOWN waits for this line to fall quiet: no more dialling.
        closing_seen_ns: First look that found the inbox empty with nothing from the peer since;
            None before.
        passed: Messages of anybody since the last look, while it is closing.
    """

    address: Address
    epoch: int = 0
    up: bool = False
    redials: int = 0
    hello_epoch: int = 0
    hello_acked: bool = False
    proof_seq: int = 0
    seq: int = 0
    kept: deque[Kept] = field(default_factory=deque)
    item_bytes_kept: int = 0
    bytes_kept: int = 0
    resend_wait_ns: int = RESEND_FIRST_NS
    arrived: int = 0
    early: dict[int, list[bytes]] = field(default_factory=dict)
    acks_owed: int = 0
    closing: bool = False
    closing_seen_ns: int | None = None
    passed: int = 0

    def keep(self, frames: list[bytes], token: PushToken | None, item_bytes: int) -> Kept:
        """Number a message and keep it until it is acknowledged."""
        self.seq += 1
        kept = Kept(self.seq, frames, token, item_bytes, sum(map(len, frames)))
        self.kept.append(kept)
        self.item_bytes_kept += item_bytes
        self.bytes_kept += kept.size_bytes
        return kept

    def frames_of(self, kept: Kept, now_ns: int) -> list[bytes]:
        """Return what to transmit for ``kept`` now; the ack rides along."""
        kept.sent_ns = now_ns
        self.acks_owed = 0
        return [encode_header(FLAG_BODY, kept.seq, self.arrived), *kept.frames]

    def ack_frames(self) -> list[bytes]:
        """Return a pure acknowledgement."""
        self.acks_owed = 0
        return [encode_header(0, 0, self.arrived)]

    def absorb_ack(self, ack: int) -> bool:
        """Forget what ``ack`` covers; return whether it covered anything."""
        kept = self.kept
        if not kept or ack < kept[0].seq or ack > self.seq:
            return False
        while kept and kept[0].seq <= ack:
            covered = kept.popleft()
            self.item_bytes_kept -= covered.item_bytes
            self.bytes_kept -= covered.size_bytes
        if ack > self.proof_seq:
            self.hello_acked = True
        self.resend_wait_ns = RESEND_FIRST_NS
        return True

    def on_up(self) -> None:
        """Start over on a fresh connection, about which acks of older sends say nothing."""
        self.up = True
        self.redials = 0
        self.hello_acked = False
        unsent = sum(1 for kept in self.kept if kept.sent_ns is None)
        self.proof_seq = self.seq - unsent

    def absorb(self, header: Header, frames: list[bytes]) -> list[list[bytes]]:
        """Take in one message; return the frames that are deliverable now, in order."""
        seq = header.seq
        if seq == self.arrived + 1:
            self.arrived = seq
            self.acks_owed += 1
            if not self.early:
                return [frames]
            ready = [frames]
            while (following := self.early.pop(self.arrived + 1, None)) is not None:
                self.arrived += 1
                self.acks_owed += 1
                ready.append(following)
            return ready
        if seq <= self.arrived:
            reached("repeated message dropped")
            self.acks_owed = max(self.acks_owed, ACK_AFTER_COUNT)
        elif seq - self.arrived <= REORDER_COUNT_MAX:
            reached("early message kept")
            self.early[seq] = frames
        return []

    def heard(self) -> None:
        """Something came from the peer: what looks have found counts no more."""
        self.closing_seen_ns = None
        self.passed = 0

    def look(self, passed_min: int, now_ns: int) -> bool:
        """Note a look that found nothing from the peer; return whether the line is quiet.

        It counts if so many messages came since the last one that the peer's would have been among
        them; 0 for an inbox that is empty.
        """
        self.passed += 1
        if self.passed < passed_min:
            return False
        self.passed = 0
        if self.closing_seen_ns is None:
            self.closing_seen_ns = now_ns
        return now_ns - self.closing_seen_ns >= QUIET_LINE_NS

    def oldest_due_ns(self) -> int | None:
        """Return when the oldest message that left should leave again, or None.

        Large messages get the time that they need at a modest rate: sending them again while they
        are on their way would only lengthen it.
        """
        if not self.kept or self.kept[0].sent_ns is None:
            return None
        on_its_way_ns = self.bytes_kept * RESEND_NS_PER_BYTE
        return self.kept[0].sent_ns + self.resend_wait_ns + on_its_way_ns

    def double_resend_wait(self) -> None:
        """Wait longer before the next resend."""
        self.resend_wait_ns = min(2 * self.resend_wait_ns, RESEND_NS_MAX)

    def check(self) -> None:
        """Assert the invariants of the line."""
        kept, size = self.kept, 0
        if kept:
            ends = (kept[0].seq, kept[-1].seq)
            assert ends == (self.seq - len(kept) + 1, self.seq), f"gap in kept: {ends}"
            size = sum([each.item_bytes for each in kept])
        assert self.item_bytes_kept == size, f"{self.item_bytes_kept} item bytes, {size} kept"
        size = sum([each.size_bytes for each in kept])
        assert self.bytes_kept == size, f"{self.bytes_kept} bytes, {size} kept"
        for seq in self.early:
            assert seq > self.arrived + 1, "a deliverable message waits"
