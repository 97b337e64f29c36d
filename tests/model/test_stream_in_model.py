"""A stream against the list of its items, however often its producer starts again."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zgen.core.stream_in import StreamsIn
from zgen.exceptions import RemoteProtocolError
from zgen.ids import TaskId
from zgen.wire.value import NONE, Fault, FaultKind, Parcel, Value

S = TaskId(b"s" * 16)
ERROR = Parcel(b"error", (), True)
CRASH = Fault(FaultKind.WORKER_CRASHED, "work")
#: What ends a stream is tried seldom, so that much has happened before.
SELDOM = st.sampled_from([False] * 7 + [True])


def item(index: int) -> bytes:
    """Every attempt yields the same."""
    return b"item %d" % index


class StreamMachine(RuleBasedStateMachine):
    """Attempts report, fail and begin again; the user takes and may go away."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = StreamsIn()
        self.streams.open(S, "work")
        self.attempt = 0
        self.yielded = 0
        self.known = 0
        self.resume = 0
        self.taken: list[Value] = []
        self.end: list[Value] | None = None
        self.held = True

    def open(self) -> bool:
        return self.end is None

    def report(self, attempt: int, first: int, count: int) -> bool:
        return self.streams.report(S, attempt, first, [item(first + i) for i in range(count)], 0)

    # -- the producer ------------------------------------------------------------------------------
    @precondition(open)
    @rule(count=st.integers(1, 5))
    def yield_items(self, count: int) -> None:
        fresh = self.yielded + count > self.known
        assert self.report(self.attempt, self.yielded, count) == (fresh and self.held)
        self.yielded += count
        self.known = max(self.known, self.yielded)

    @precondition(open)
    @rule(grows_by=st.integers(1, 2))
    def begin_again(self, grows_by: int) -> None:
        self.attempt += grows_by
        self.yielded = 0
        self.resume = self.known
        self.streams.begin_attempt(S, self.attempt)

    @precondition(lambda self: self.open() and not self.yielded and self.resume)
    @rule(data=st.data(), count=st.integers(1, 5))
    def go_on(self, data: st.DataObject, count: int) -> None:
        self.yielded = data.draw(st.integers(1, self.resume))
        self.streams.check_end(S, self.yielded)
        fresh = self.yielded + count > self.known
        assert self.report(self.attempt, self.yielded, count) == (fresh and self.held)
        self.yielded += count
        self.known = max(self.known, self.yielded)

    @precondition(lambda self: self.attempt > 0)
    @rule(first=st.integers(0, 9), data=st.data())
    def hear_an_old_attempt(self, first: int, data: st.DataObject) -> None:
        old = data.draw(st.integers(0, self.attempt - 1))
        assert not self.report(old, first, 2)

    @precondition(open)
    @rule(off=st.sampled_from([-1, 1, 7]), ahead=st.booleans())
    def hear_what_does_not_follow(self, off: int, ahead: bool) -> None:
        if not self.yielded and 0 < off <= self.resume:
            return  # it goes on from there
        with pytest.raises(RemoteProtocolError):
            self.report(self.attempt + ahead, self.yielded + off, 1)
        if self.held or off < 0:
            with pytest.raises(RemoteProtocolError):
                self.streams.check_end(S, self.yielded + off)

    @precondition(open)
    @rule(error=st.sampled_from([None, ERROR]), really=SELDOM)
    def finish(self, error: Value | None, really: bool) -> None:
        if not really:
            return
        completion = self.streams.finish(S, self.yielded, error)
        if self.yielded < self.known:
            assert isinstance(completion, Fault)
            assert (completion.expected, completion.got) == (self.known, self.yielded)
            self.end = [completion]
        else:
            assert completion == NONE
            self.end = [] if error is None else [error]

    @precondition(open)
    @rule(really=SELDOM)
    def fail(self, really: bool) -> None:
        if not really:
            return
        self.streams.fail(S, CRASH)
        self.end = [CRASH]

    @precondition(lambda self: self.end is not None)
    @rule()
    def hear_more_after_the_end(self) -> None:
        assert not self.report(self.attempt, self.yielded, 1)

    # -- the user ----------------------------------------------------------------------------------
    def all_items(self) -> list[Value]:
        return [*map(item, range(self.known)), *(self.end or [])]

    @precondition(lambda self: self.held)
    @rule(count_max=st.integers(1, 4))
    def take(self, count_max: int) -> None:
        first, values, ended, _ = self.streams.take(S, count_max, 0)
        assert first == len(self.taken)
        self.taken += values
        assert len(values) == min(count_max, len(self.all_items()) - first)
        assert ended == (self.end is not None and len(self.taken) == len(self.all_items()))

    @rule(really=SELDOM)
    def close(self, really: bool) -> None:
        if not really:
            return
        told = self.streams.close(S)
        assert told == (self.held and self.end is None)
        self.held = False

    # -- promises ----------------------------------------------------------------------------------
    @invariant()
    def items_come_in_order_once_and_the_error_behind_them(self) -> None:
        self.streams.check()
        assert self.taken == self.all_items()[: len(self.taken)]

    @invariant()
    def a_stream_lives_while_it_is_held_or_fed(self) -> None:
        assert (S in self.streams.streams) == (self.held or self.end is None)
        if self.held:
            more = len(self.taken) < len(self.all_items())
            assert self.streams.is_ready(S) == (more or self.end is not None)


StreamMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=50)
TestStreamIn = StreamMachine.TestCase
