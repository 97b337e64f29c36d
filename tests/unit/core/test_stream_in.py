"""A stream as its owner sees it: in order, once, and one end."""

from __future__ import annotations

import pytest

from tests.unit.core.names import peer, task
from zgen.core import stream_in as stream_in_module
from zgen.core.stream_in import StreamsIn
from zgen.exceptions import RemoteProtocolError
from zgen.wire.store import Place
from zgen.wire.value import NONE, Fault, FaultKind, Parcel, Stored, Value

S = task("stream")
ERROR = Parcel(b"error", (), True)
CRASH = Fault(FaultKind.WORKER_CRASHED, "work")


def items(*names: str) -> list[Value]:
    return [name.encode() for name in names]


def opened(*reported: str) -> StreamsIn:
    streams = StreamsIn()
    streams.open(S, "work")
    if reported:
        report(streams, 0, 0, *reported)
    return streams


def report(streams: StreamsIn, attempt: int, first_index: int, *names: str) -> bool:
    fresh = streams.report(S, attempt, first_index, items(*names), 0)
    streams.check()
    return fresh


def take(streams: StreamsIn, count_max: int = 100) -> tuple[int, list[Value], bool]:
    first, values, ended, stored = streams.take(S, count_max, 0)
    assert [type(value) is Stored for value in values] == [
        at in stored for at in range(len(values))
    ]
    streams.check()
    return first, values, ended


# -- items ---------------------------------------------------------------------------------------
def test_items_are_taken_in_the_order_of_their_reports() -> None:
    streams = opened()
    assert not streams.is_ready(S)
    assert report(streams, 0, 0, "a", "b")
    assert report(streams, 0, 2, "c")
    assert streams.is_ready(S)
    assert take(streams, 2) == (0, items("a", "b"), False)
    assert take(streams, 2) == (2, items("c"), False)
    assert take(streams, 2) == (3, [], False)


def test_nothing_is_taken_behind_the_first_item_in_shared_memory() -> None:
    streams, place = opened(), Place(1, 0, 4096, 4096, True)
    first, last = (Stored(peer("node"), number, place, b"", (9,)) for number in (1, 2))
    small = items("a", "b", "c", "d")
    streams.report(S, 0, 0, [*small[:3], first, last, small[3]], 0, 2)
    assert take(streams, 2) == (0, small[:2], False)
    assert take(streams) == (2, [small[2], first], False)
    assert streams.holds_back(S, 0)
    assert take(streams) == (4, [last], False)
    assert not streams.holds_back(S, 0)
    assert take(streams) == (5, small[3:], False)


@pytest.mark.parametrize(("attempt", "first_index"), [(0, 0), (0, 3), (0, -1), (1, 2)])
def test_a_report_that_does_not_follow_is_refused(attempt: int, first_index: int) -> None:
    streams = opened("a", "b")
    with pytest.raises(RemoteProtocolError, match="expected 0 2"):
        report(streams, attempt, first_index, "c")
    assert take(streams) == (0, items("a", "b"), False)


def test_a_stream_has_a_bounded_number_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_in_module, "ITEMS_COUNT_MAX", 3)
    streams = opened("a", "b")
    with pytest.raises(RemoteProtocolError, match="more than 3 items"):
        report(streams, 0, 2, "c", "d")
    assert report(streams, 0, 2, "c")


def test_reports_of_streams_that_are_over_or_unknown_are_dropped() -> None:
    streams = opened()
    assert not streams.report(task("unknown"), 0, 0, items("a"), 0)
    streams.finish(S, 0, None)
    assert not report(streams, 0, 0, "a")
    assert take(streams) == (0, [], True)


# -- attempts ------------------------------------------------------------------------------------
def test_what_a_replay_repeats_is_dropped_by_index() -> None:
    streams = opened("a", "b", "c")
    take(streams, 1)
    streams.begin_attempt(S, 1)
    assert not report(streams, 1, 0, "a", "b")
    assert report(streams, 1, 2, "c", "d", "e")
    assert report(streams, 1, 5, "f")
    assert take(streams) == (1, items("b", "c", "d", "e", "f"), False)


def test_a_report_of_an_older_attempt_is_refused_silently() -> None:
    streams = opened("a")
    streams.begin_attempt(S, 1)
    assert not report(streams, 0, 1, "stale")
    assert report(streams, 1, 0, "a", "b")
    assert take(streams)[1] == items("a", "b")


def test_attempts_only_grow() -> None:
    streams = opened()
    streams.begin_attempt(S, 2)
    streams.begin_attempt(S, 2)
    with pytest.raises(AssertionError, match="attempt 1 after 2"):
        streams.begin_attempt(S, 1)
    streams.begin_attempt(task("no stream"), 1)
    assert list(streams.streams) == [S]


def test_a_replay_that_ends_earlier_than_what_is_known_is_an_error_after_it() -> None:
    streams = opened("a", "b", "c")
    streams.begin_attempt(S, 1)
    report(streams, 1, 0, "a", "b")
    mismatch = Fault(FaultKind.REPLAY_MISMATCH, "work", expected=3, got=2)
    assert streams.finish(S, 2, None) == mismatch
    streams.check()
    assert take(streams) == (0, [*items("a", "b", "c"), mismatch], True)


# -- the end -------------------------------------------------------------------------------------
def test_a_stream_ends_after_its_items() -> None:
    streams = opened("a")
    assert streams.finish(S, 1, None) == NONE
    streams.check()
    assert streams.is_ready(S)
    assert take(streams) == (0, items("a"), True)
    assert take(streams) == (1, [], True)
    assert streams.streams[S].completion == NONE


def test_an_error_stands_behind_the_items_and_the_end_behind_the_error() -> None:
    streams = opened("a")
    assert streams.finish(S, 1, ERROR) == NONE
    streams.check()
    assert take(streams, 1) == (0, items("a"), False)
    assert take(streams, 1) == (1, [ERROR], True)


def test_a_failure_stands_behind_the_items_and_is_the_completion() -> None:
    streams = opened("a")
    streams.fail(S, CRASH)
    streams.check()
    assert streams.streams[S].completion == CRASH
    assert take(streams) == (0, [*items("a"), CRASH], True)


@pytest.mark.parametrize("count", [1, 3])
def test_an_end_that_counts_other_items_than_were_reported_is_refused(count: int) -> None:
    streams = opened("a", "b")
    with pytest.raises(RemoteProtocolError, match=f"end after {count} items, 2 were reported"):
        streams.check_end(S, count)
    with pytest.raises(RemoteProtocolError):
        streams.finish(S, count, None)
    assert take(streams) == (0, items("a", "b"), False)


def test_a_stream_ends_once() -> None:
    streams = opened()
    streams.finish(S, 0, None)
    with pytest.raises(AssertionError, match="ended twice"):
        streams.fail(S, CRASH)


# -- the handle ----------------------------------------------------------------------------------
def test_a_stream_that_is_closed_early_frees_its_items_and_takes_no_more() -> None:
    streams = opened("a", "b")
    assert streams.close(S)
    streams.check()
    assert not streams.streams[S].unread
    assert not report(streams, 0, 2, "c")
    assert not streams.streams[S].unread
    assert not streams.close(S), "the producer was told"
    streams.check_end(S, 7)  # it dropped what it yielded after it had heard
    assert streams.finish(S, 7, ERROR) == NONE
    assert streams.streams == {}


def test_a_closed_stream_that_fails_leaves_nothing() -> None:
    streams = opened("a")
    streams.close(S)
    streams.fail(S, CRASH)
    assert streams.streams == {}


def test_a_stream_that_ended_goes_with_its_handle() -> None:
    streams = opened("a")
    streams.finish(S, 1, None)
    assert not streams.close(S)
    assert streams.streams == {}
    assert not streams.close(S)


def test_a_closed_producer_cannot_have_yielded_less_than_it_reported() -> None:
    streams = opened("a", "b")
    streams.close(S)
    with pytest.raises(RemoteProtocolError):
        streams.check_end(S, 1)


# -- check ---------------------------------------------------------------------------------------
def test_check_finds_lost_and_additional_items_and_what_nobody_can_take() -> None:
    for broken in ("lost", "additional", "position"):
        streams = opened("a", "b")
        record = streams.streams[S]
        if broken == "lost":
            record.unread.pop()
        elif broken == "additional":
            record.unread.extend(items("c", "d"))
        else:
            record.position = 3
        with pytest.raises(AssertionError, match="stream"):
            streams.check()
    streams = opened()
    streams.close(S)
    streams.streams[S].unread.append(b"a")
    with pytest.raises(AssertionError, match="stream"):
        streams.check()


def test_the_item_that_is_next_can_be_looked_at_without_taking_it() -> None:
    streams = opened("a", "b")
    assert streams.first_unread(S) == (0, b"a")
    take(streams, 1)
    assert streams.first_unread(S) == (1, b"b")
    take(streams)
    assert streams.first_unread(S) is None
    assert streams.first_unread(task("another")) is None
