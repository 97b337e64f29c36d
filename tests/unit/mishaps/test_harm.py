"""What is done to frames: between two sessions, all of it is survived."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zgen.core.effects import Transmit
from zgen.ids import JobId, PeerId
from zgen.limits import MS, SECOND
from zgen.mishaps.catalogue import Action
from zgen.mishaps.dice import Verdict
from zgen.mishaps.harm import HELD_NS_MAX, WITHHELD_COUNT_MAX, Harm
from zgen.wire.codec import (
    FLAG_BODY,
    FLAG_PROBE,
    FLAG_UNSEQUENCED,
    decode_header,
    encode,
    encode_header,
)
from zgen.wire.lease import EndJob
from zgen.wire.session import Address, Goodbye, Hello

ONE, TWO = PeerId(b"one".ljust(16)), PeerId(b"two".ljust(16))
END_JOB = 0x1B
BODY = encode(EndJob(JobId(bytes(16))))[0]


class OneAction:
    """Does the same to all first sendings, or to the acks of arrivals."""

    def __init__(self, action: Action | None, delay_ns: int = 0) -> None:
        self.action = action
        self.delay_ns = delay_ns
        self.heard: list[tuple[int, bool]] = []

    def on_send(self, kind: int, *, again: bool, kept: bool) -> Verdict | None:
        hits = not again and self.action not in (None, Action.REPLY_DROP)
        return Verdict(self.action, kind, self.delay_ns) if hits and self.action else None

    def on_receive(self, kind: int, *, kept: bool) -> bool:
        self.heard.append((kind, kept))
        return kept and self.action is Action.REPLY_DROP


Noted = list[tuple[int, Action | None]]


def harm(action: Action | None, delay_ns: int = 0) -> tuple[Harm, Noted]:
    noted: Noted = []
    return Harm(OneAction(action, delay_ns), lambda kind, what: noted.append((kind, what))), noted


def message(seq: int, ack: int = 0, epoch: int = 1, peer: PeerId = ONE) -> Transmit:
    return Transmit(peer, epoch, [encode_header(FLAG_BODY, seq, ack), BODY])


def hello(sender: PeerId = ONE, life: int = 1) -> list[bytes]:
    said = Hello(Address(sender, life, "ipc://x"), TWO, 1, 1, 1, 1, "3.11", "0")
    return [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0), *encode(said)]


def test_what_nothing_befalls_leaves_as_it_is() -> None:
    harmed, noted = harm(None)
    assert harmed.send(message(1), 0) == [message(1)]
    assert noted == [(END_JOB, None)]
    ack = Transmit(ONE, 1, [encode_header(0, 0, 5)])
    assert harmed.send(ack, 0) == [ack]
    assert noted == [(END_JOB, None)]
    assert harmed.next_ns is None


def test_a_lost_message_leaves_when_it_is_sent_again() -> None:
    harmed, noted = harm(Action.DROP)
    assert harmed.send(message(1), 0) == []
    assert harmed.send(message(1), 0) == [message(1)]
    assert noted == [(END_JOB, None), (END_JOB, Action.DROP)]


def test_numbers_of_each_peer_and_of_each_line_count_on_their_own() -> None:
    harmed, noted = harm(Action.DROP)
    harmed.send(message(1, epoch=3), 0)
    harmed.send(message(1, peer=TWO), 0)
    assert harmed.send(message(1, epoch=4), 0) == [message(1, epoch=4)]
    harmed.send(message(1, epoch=1), 0)  # another line to the same peer
    assert noted.count((END_JOB, Action.DROP)) == 3


def test_a_repeated_message_leaves_twice() -> None:
    harmed, _ = harm(Action.DUP)
    assert harmed.send(message(1), 0) == [message(1), message(1)]


def test_a_late_message_leaves_when_it_is_due() -> None:
    harmed, _ = harm(Action.DELAY, 20 * MS)
    assert harmed.send(message(1), 5) == []
    assert harmed.next_ns == 20 * MS + 5
    assert harmed.due(20 * MS) == []
    assert harmed.due(20 * MS + 5) == [message(1)]
    assert harmed.next_ns is None


def test_what_is_in_flight_leaves_behind_its_resend() -> None:
    harmed, _ = harm(Action.INFLIGHT_RETRY)
    first, resend = message(1, ack=3), message(1, ack=4)
    assert harmed.send(first, 0) == []
    assert harmed.send(resend, 0) == [resend, first]
    assert harmed.due(HELD_NS_MAX) == []


def test_what_is_never_sent_again_is_kept_back_for_a_while_only() -> None:
    harmed, _ = harm(Action.INFLIGHT_RETRY)
    frames = [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0), *encode(Goodbye(ONE, 1, ""))]
    assert harmed.send(Transmit(ONE, 1, frames), 0) == []
    assert harmed.due(HELD_NS_MAX) == [Transmit(ONE, 1, frames)]


def test_of_probes_the_next_one_is_the_resend() -> None:
    harmed, _ = harm(Action.INFLIGHT_RETRY)
    probe = Transmit(ONE, 1, [encode_header(FLAG_BODY | FLAG_PROBE, 0, 0), BODY])
    assert harmed.send(probe, 0) == []
    assert harmed.send(probe, 0) == [probe, probe]


def test_an_ack_is_withheld_until_the_message_comes_again() -> None:
    harmed, noted = harm(Action.REPLY_DROP)
    harmed.receive(b"c", hello(), 0)
    harmed.receive(b"c", message(4).frames, 0)
    assert noted == [(END_JOB, Action.REPLY_DROP)]
    (ack,) = harmed.send(Transmit(ONE, 1, [encode_header(0, 0, 5)]), 0)
    assert decode_header(ack.frames[0]).ack == 3
    (data,) = harmed.send(message(1, ack=5), 0)
    assert (decode_header(data.frames[0]).ack, data.frames[1]) == (3, BODY)
    assert harmed.send(message(2, ack=2), 0) == [message(2, ack=2)]
    harmed.receive(b"c", message(5).frames, 0)
    harmed.receive(b"c", message(4).frames, 0)
    (next_one,) = harmed.send(message(3, ack=5), 0)
    assert decode_header(next_one.frames[0]).ack == 4
    harmed.receive(b"c", message(5).frames, 0)
    assert harmed.send(message(4, ack=5), 0) == [message(4, ack=5)]
    harmed.receive(b"c", message(4).frames, 0)  # what was acknowledged is never sent again
    assert harmed.send(message(5, ack=5), 0) == [message(5, ack=5)]


def test_so_many_acks_are_withheld_and_no_more() -> None:
    harmed, noted = harm(Action.REPLY_DROP)
    harmed.receive(b"c", hello(), 0)
    for seq in range(1, WITHHELD_COUNT_MAX + 9):
        harmed.receive(b"c", message(seq).frames, 0)
    assert len([each for each in noted if each[1]]) == WITHHELD_COUNT_MAX


def test_an_ack_is_not_withheld_for_ever_nor_from_another_life() -> None:
    harmed, _ = harm(Action.REPLY_DROP)
    harmed.receive(b"c", hello(), 0)
    harmed.receive(b"c", message(4).frames, 0)
    late = HELD_NS_MAX + 1
    assert harmed.send(message(1, ack=5), late) == [message(1, ack=5)]
    harmed.receive(b"c", message(6).frames, 0)
    harmed.receive(b"d", hello(life=2), 0)
    assert harmed.send(message(2, ack=6), SECOND) == [message(2, ack=6)]


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"short"],
        [encode_header(FLAG_BODY, 1, 0)],
        [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0), b"\xff"],
        [encode_header(0, 0, 1)],
    ],
)
def test_what_is_malformed_is_left_to_the_session(frames: list[bytes]) -> None:
    harmed, noted = harm(Action.REPLY_DROP)
    harmed.receive(b"c", frames, 0)
    assert noted == []


def test_the_judge_hears_of_all_that_arrives() -> None:
    judge = OneAction(None)
    note: Callable[[int, Action | None], None] = lambda kind, action: None  # noqa: E731
    harmed = Harm(judge, note)
    harmed.receive(b"c", message(1).frames, 0)  # nobody said hello there
    harmed.receive(b"c", hello(), 0)
    harmed.receive(b"c", [encode_header(FLAG_BODY | FLAG_PROBE, 0, 0), BODY], 0)
    harmed.receive(b"c", message(1).frames, 0)
    harmed.receive(
        b"c", [encode_header(FLAG_BODY | FLAG_UNSEQUENCED, 0, 0), *encode(Goodbye(ONE, 1, ""))], 0
    )
    assert judge.heard == [
        (END_JOB, False),
        (0x01, False),
        (END_JOB, False),
        (END_JOB, True),
        (0x02, False),
    ]
