"""One line: order, once, acknowledgement, when to send again."""

from __future__ import annotations

import pytest

from tests.unit.core.names import address
from zgen.core.line import Kept, Line
from zgen.limits import (
    ACK_AFTER_COUNT,
    REORDER_COUNT_MAX,
    RESEND_FIRST_NS,
    RESEND_NS_MAX,
    RESEND_NS_PER_BYTE,
)
from zgen.wire.codec import FLAG_BODY, Header, encode_header


def a_line() -> Line:
    return Line(address("peer"))


def arrive(line: Line, seq: int) -> list[bytes]:
    """Let message ``seq`` arrive; return the bodies that are deliverable."""
    ready = line.absorb(Header(FLAG_BODY, seq, 0), [b"%d" % seq])
    line.check()
    return [frames[0] for frames in ready]


def keep(line: Line, item_bytes: int = 0, body: bytes = b"body") -> Kept:
    kept = line.keep([body], None, item_bytes)
    line.check()
    return kept


def ack(line: Line, upto: int) -> bool:
    covered = line.absorb_ack(upto)
    line.check()
    return covered


# -- in ------------------------------------------------------------------------------------------
def test_messages_in_order_are_delivered_at_once() -> None:
    line = a_line()
    assert [arrive(line, seq) for seq in (1, 2, 3)] == [[b"1"], [b"2"], [b"3"]]
    assert (line.arrived, line.acks_owed) == (3, 3)


def test_an_early_message_waits_until_the_gap_closes() -> None:
    line = a_line()
    assert arrive(line, 3) == []
    assert arrive(line, 2) == []
    assert arrive(line, 5) == []
    assert arrive(line, 1) == [b"1", b"2", b"3"]
    assert list(line.early) == [5]
    assert arrive(line, 4) == [b"4", b"5"]
    assert (line.arrived, line.acks_owed) == (5, 5)


def test_a_repeated_message_is_dropped_and_its_ack_renewed_soon() -> None:
    line = a_line()
    arrive(line, 1)
    assert arrive(line, 1) == []
    assert line.acks_owed >= ACK_AFTER_COUNT
    arrive(line, 3)
    assert arrive(line, 3) == []
    assert arrive(line, 2) == [b"2", b"3"]


def test_what_lies_too_far_ahead_is_dropped() -> None:
    line = a_line()
    assert arrive(line, REORDER_COUNT_MAX + 1) == []
    assert line.early == {}
    assert arrive(line, REORDER_COUNT_MAX) == []
    assert list(line.early) == [REORDER_COUNT_MAX]


def test_a_message_without_a_number_is_a_repetition() -> None:
    assert arrive(a_line(), 0) == []


# -- out -----------------------------------------------------------------------------------------
def test_what_is_kept_is_numbered_and_carries_the_ack() -> None:
    line = a_line()
    arrive(line, 1)
    kept = keep(line)
    assert line.frames_of(kept, 7) == [encode_header(FLAG_BODY, 1, 1), b"body"]
    assert (kept.sent_ns, line.acks_owed) == (7, 0)
    assert keep(line).seq == 2


def test_a_pure_ack_says_how_far_it_goes_and_nothing_more() -> None:
    line = a_line()
    arrive(line, 1)
    arrive(line, 3)
    assert line.ack_frames() == [encode_header(0, 0, 1)]
    assert line.acks_owed == 0


def test_an_ack_covers_everything_before_it_and_its_bytes() -> None:
    line = a_line()
    for size in (1, 10, 100):
        keep(line, size)
    assert (line.item_bytes_kept, line.bytes_kept) == (111, 12)
    assert ack(line, 2)
    assert [kept.seq for kept in line.kept] == [3]
    assert (line.item_bytes_kept, line.bytes_kept) == (100, 4)
    assert ack(line, 3)
    assert (line.item_bytes_kept, line.bytes_kept) == (0, 0)


@pytest.mark.parametrize("upto", [0, 4, 2**64 - 1])
def test_an_ack_of_what_never_left_is_ignored(upto: int) -> None:
    line = a_line()
    for _ in range(3):
        keep(line)
    assert not ack(line, upto)
    assert len(line.kept) == 3


def test_an_old_ack_changes_nothing() -> None:
    line = a_line()
    keep(line)
    keep(line)
    assert ack(line, 2)
    line.resend_wait_ns = RESEND_NS_MAX
    assert not ack(line, 1)
    assert line.resend_wait_ns == RESEND_NS_MAX


# -- resend --------------------------------------------------------------------------------------
def test_the_wait_before_a_resend_doubles_up_to_its_bound_and_falls_with_an_ack() -> None:
    line = a_line()
    keep(line)
    waits = []
    for _ in range(4):
        waits.append(line.resend_wait_ns)
        line.double_resend_wait()
    assert waits == [RESEND_FIRST_NS, 2 * RESEND_FIRST_NS, RESEND_NS_MAX, RESEND_NS_MAX]
    assert ack(line, 1)
    assert line.resend_wait_ns == RESEND_FIRST_NS


def test_the_oldest_is_due_after_its_wait_and_the_time_that_all_bytes_need() -> None:
    line = a_line()
    assert line.oldest_due_ns() is None
    kept = keep(line, body=bytes(1_000))
    assert line.oldest_due_ns() is None, "it never left"
    line.frames_of(kept, 50)
    assert line.oldest_due_ns() == 50 + RESEND_FIRST_NS + 1_000 * RESEND_NS_PER_BYTE


# -- proof of the hello --------------------------------------------------------------------------
def test_an_ack_of_what_left_before_a_connection_proves_nothing_of_its_hello() -> None:
    line = a_line()
    line.frames_of(keep(line), 0)
    keep(line)
    line.redials = 3
    line.on_up()
    assert (line.up, line.redials, line.proof_seq) == (True, 0, 1)
    ack(line, 1)
    proofs = [line.hello_acked]
    ack(line, 2)
    proofs.append(line.hello_acked)
    line.on_up()
    assert [*proofs, line.hello_acked] == [False, True, False]


# -- check ---------------------------------------------------------------------------------------
def test_check_finds_a_gap_lost_bytes_and_a_message_that_should_have_been_delivered() -> None:
    line = a_line()
    for _ in range(3):
        line.keep([b""], None, 1)
    del line.kept[1]
    with pytest.raises(AssertionError, match="gap in kept"):
        line.check()
    line = a_line()
    line.keep([b""], None, 1)
    line.item_bytes_kept = 2
    with pytest.raises(AssertionError, match="2 item bytes, 1 kept"):
        line.check()
    line = a_line()
    line.early[1] = [b""]
    with pytest.raises(AssertionError, match="deliverable"):
        line.check()
