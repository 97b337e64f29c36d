"""Yields of several items: reported, taken, counted and handed over as a whole."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.core.bench import OwnerBench
from tests.unit.core.names import (
    NODE,
    OTHER_WORKER,
    WORKER,
    lease,
    pushed,
    stream_spec,
    task,
    those,
)
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from tests.unit.core.test_far_streams import Bench as FarBench
from tests.unit.core.test_lending import ONE, ask, items, leave
from tests.unit.core.test_lending import Bench as LendingBench
from tests.unit.core.test_windows import granted
from zgen.core.effects import Effect, HoldBody, ItemsTaken, ReleaseBody, Send
from zgen.core.events import TaskEnded
from zgen.core.in_stream import InStream, count_out, open_window, whole_yields
from zgen.core.stream_in import StreamsIn
from zgen.core.stream_words import AskPosition, AskRoom, PositionIs, YieldedTogether
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import RemoteProtocolError
from zgen.ids import item_ids
from zgen.limits import ITEM_BYTES_UNACKED_MAX, LINE_BUSY_NS, LOAN_ROOM_COUNT, SECOND
from zgen.wire.handover import StreamItems, TakeStream
from zgen.wire.store import Place
from zgen.wire.stream import (
    PARKED_BY_BYTES,
    CloseStream,
    Consumed,
    ReportEnd,
    ReportItems,
    StreamParked,
)
from zgen.wire.task import (
    OUTCOME_VALUE,
    STREAMING,
    PushedTask,
    PushTasks,
)
from zgen.wire.value import Fault, FaultKind, Stored, Value, room_bytes

S = task("s")
L = lease("l")


def spec_of(per_yield: int, window: int = 0, window_bytes: int = 0, retries: int = 1) -> TaskSpec:
    spec = stream_spec("s", retries=retries)
    return dataclasses.replace(spec, window=window, window_bytes=window_bytes, per_yield=per_yield)


def names(count: int) -> tuple[bytes, ...]:
    return tuple([b"%d" % number for number in range(count)])


def reading(per_yield: int, count: int, window: int = 0, window_bytes: int = 0) -> OwnerBench:
    """An owner whose producer has reported so many items."""
    bench = OwnerBench().running(spec_of(per_yield, window, window_bytes))
    bench.items("s", 0, *names(count))
    return bench


def taken(effects: list[Effect]) -> int:
    return len(effects[0].objects)  # type: ignore[union-attr]  # ItemsTaken


def stored(region: int) -> Stored:
    return Stored(NODE, region, Place(1, 0, room_bytes((9,)), 1 << 20, False), b"", (9,))


# -- the owner -----------------------------------------------------------------------------------
def test_whole_yields_are_handed_over_whatever_number_is_asked_for() -> None:
    bench = reading(3, 12)
    assert [taken(bench.take("s", count)) for count in (1, 2, 5, 64)] == [3, 3, 3, 3]
    assert taken(bench.take("s", 0)) == 0
    assert whole_yields(InStream("s", per_yield=3), 7) == 6


def test_of_a_window_a_yield_is_one() -> None:
    bench = reading(2, 4, window=2)
    assert bench.take("s") == [
        ItemsTaken(S, item_ids(S, 0, 2), False),
        Send(WORKER, Consumed(S, 0, 2)),
    ]
    assert granted(bench.take("s")) == [4]


def test_a_wide_window_is_told_of_by_whole_yields() -> None:
    bench = reading(3, 90, window=20)
    assert [taken(bench.take("s")) for _ in range(3)] == [18, 18, 18]
    assert bench.owner.streams.streams[S].consumed == 39


def test_the_bytes_of_a_yield_are_those_of_all_its_items() -> None:
    bench = OwnerBench().running(spec_of(2, window_bytes=100))
    bench.items("s", 0, *[bytes(5)] * 8)
    record = bench.owner.streams.streams[S]
    assert (list(record.sizes), record.ahead_bytes) == ([10] * 4, 40)
    assert [taken(bench.take("s")) for _ in range(3)] == [4, 4, 0]
    assert record.ahead_bytes == 0


def test_counting_out_hands_over_one_yield_at_least() -> None:
    record = InStream("s")
    open_window(record, 0, 8, 2)
    record.sizes.extend([9, 9])
    record.ahead_bytes = 18
    assert count_out(record, 2, 4) == 2
    assert (record.ahead_bytes, record.untold_bytes) == (9, 9)


def test_a_failure_stands_for_each_item_of_a_yield() -> None:
    bench = reading(3, 3)
    bench.down()
    bench.advance(SECOND)
    bench.grant(2, OTHER_WORKER)
    bench.down(OTHER_WORKER)
    assert [taken(bench.take("s")) for _ in range(2)] == [6, 0]
    values = [bench.owner.refs.value_of(name) for name in item_ids(S, 3, 3)]
    kinds = [value.kind for value in values if isinstance(value, Fault)]
    assert kinds == [FaultKind.NODE_DIED] * 3


def test_parts_of_a_yield_are_no_report() -> None:
    bench = reading(2, 2)
    for first, count in ((2, 1), (3, 2), (2, 3)):
        with pytest.raises(RemoteProtocolError):
            bench.items("s", first, *names(count))
    assert taken(bench.take("s")) == 2


def test_yields_with_values_in_shared_memory_end_what_is_handed_over() -> None:
    streams = StreamsIn()
    streams.open(S, "s", per_yield=3)
    values: list[Value] = [b"a", b"b", b"c", b"d", stored(1), stored(2), b"g", b"h", b"i"]
    streams.report(S, 0, 0, values, 0, 2)
    first, given, ended, lying = streams.take(S, 64, 0)
    assert (first, given, ended, lying) == (0, values[:6], False, [4, 5])
    streams.check()
    assert streams.take(S, 64, 0)[1] == values[6:]


def test_a_replay_goes_back_to_the_beginning_of_a_yield() -> None:
    streams = StreamsIn()
    streams.open(S, "s", per_yield=3)
    streams.report(S, 0, 0, [b"a", b"b", b"c", b"d", b"e", stored(1)], 0, 1)
    streams.begin_attempt(S, 1)
    assert streams.streams[S].resume == 6
    streams.rewind(S, 6, fills=True)
    assert streams.streams[S].resume == 3
    streams.check()


def test_a_replay_that_yields_less_says_so_in_yields() -> None:
    streams = StreamsIn()
    streams.open(S, "s", per_yield=2)
    streams.report(S, 0, 0, list(names(6)), 0)
    streams.begin_attempt(S, 1)
    streams.report(S, 1, 0, list(names(2)), 0)
    error = streams.finish(S, 2, None)
    assert isinstance(error, Fault)
    assert (error.expected, error.got) == (3, 1)


def test_the_push_says_how_many_items_each_yield_makes() -> None:
    bench = OwnerBench()
    bench.owner.submit(spec_of(2, window=3), bench.now_ns, [])
    sent = [effect.message for effect in bench.grant(1, WORKER) if isinstance(effect, Send)]
    (push,) = [message for message in sent if isinstance(message, PushTasks)]
    assert [(each.per_yield, each.window) for each in push.tasks] == [(2, 3)]


# -- the producer --------------------------------------------------------------------------------
def producing(per_yield: int, **flow: int) -> ProcessBench:
    bench = worker_bench()
    plain = pushed("s", flow.pop("attempt", 0), STREAMING)
    each: PushedTask = dataclasses.replace(plain, per_yield=per_yield, **flow)  # type: ignore[arg-type]  # numbers
    bench.say(DRIVER, PushTasks(L, 0, (each,)))
    return bench


def yields(bench: ProcessBench, *values: Value, attempt: int = 0) -> list[Effect]:
    bench.now_ns += LINE_BUSY_NS
    return bench.step(YieldedTogether(S, attempt, values))


def said(first: int, *values: bytes, attempt: int = 0) -> Send:
    return Send(DRIVER, ReportItems(S, attempt, first, values))


def test_a_yield_leaves_in_one_report_with_those_before_it() -> None:
    bench = producing(2)
    assert yields(bench, b"a", b"b") == [said(0, b"a", b"b")]
    assert bench.step(YieldedTogether(S, 0, (b"c", b"d"))) == []
    assert bench.step(YieldedTogether(S, 0, (b"e", b"f"))) == []
    assert yields(bench, b"g", b"h") == [said(2, b"c", b"d", b"e", b"f", b"g", b"h")]


def test_a_body_parks_when_its_window_of_yields_is_full() -> None:
    bench = producing(2, window=2)
    assert yields(bench, b"a", b"b") == [said(0, b"a", b"b")]
    assert yields(bench, b"c", b"d") == [said(2, b"c", b"d"), HoldBody(S)]
    assert bench.say(DRIVER, Consumed(S, 0, 2)) == [ReleaseBody(S)]
    assert those(yields(bench, b"e", b"f"), HoldBody) == [HoldBody(S)]


def test_a_yield_that_does_not_fit_is_kept_back_as_a_whole() -> None:
    bench = producing(2, window_bytes=100)
    a, b = bytes(40), bytes(20)
    assert yields(bench, a, b) == [said(0, a, b)]
    parked = Send(DRIVER, StreamParked(S, 0, PARKED_BY_BYTES))
    assert yields(bench, b, a) == [HoldBody(S), parked]
    assert bench.say(DRIVER, Consumed(S, 0, 2)) == [said(2, b, a), ReleaseBody(S)]
    meter = bench.process.executor.reports.metering.meters[S]  # type: ignore[union-attr]  # a worker
    assert list(meter.sizes) == [60]


def test_a_yield_that_is_kept_back_goes_with_its_stream() -> None:
    bench = producing(2, window_bytes=1)
    yields(bench, b"a", b"b")
    yields(bench, b"c", b"d")
    reports = bench.process.executor.reports  # type: ignore[union-attr]  # a worker
    assert reports.values() == [b"c", b"d"]
    bench.say(DRIVER, CloseStream(S, 0))
    assert (reports.streams[S].count, reports.values()) == (4, [])


def test_large_values_of_a_yield_ask_for_room_together() -> None:
    bench = producing(2, window_bytes=1000)
    yields(bench, bytes(100), bytes(100))
    assert those(bench.step(AskRoom(S, 0, 900)), HoldBody) == [HoldBody(S)]
    assert bench.say(DRIVER, Consumed(S, 0, 2)) == [ReleaseBody(S)]
    bench.process.store.stock.writing[1] = False
    done = yields(bench, stored(1), bytes(891))
    assert those(done, HoldBody) == []
    meter = bench.process.executor.reports.metering.meters[S]  # type: ignore[union-attr]  # a worker
    assert len(meter.sizes) == 1


def test_what_a_closed_or_cancelled_stream_yields_is_dropped_and_counted_or_not() -> None:
    bench = producing(2)
    bench.say(DRIVER, CloseStream(S, 0))
    assert yields(bench, b"a", b"b") == []
    reports = bench.process.executor.reports  # type: ignore[union-attr]  # a worker
    assert reports.streams[S].count == 2
    reports.streams[S].cancelled = True
    assert yields(bench, b"c", b"d") == []
    assert reports.streams[S].count == 2


def test_a_body_goes_on_behind_whole_yields() -> None:
    bench = producing(3, attempt=1, resume=9)
    assert bench.step(AskPosition(S, 1)) == [PositionIs(S, 3)]
    assert yields(bench, b"j", b"k", b"l", attempt=1) == [said(9, b"j", b"k", b"l", attempt=1)]


def test_a_body_whose_window_is_full_makes_its_last_yield_again() -> None:
    bench = producing(3, attempt=1, resume=6, window=2)
    assert bench.step(AskPosition(S, 1)) == [PositionIs(S, 1)]
    bench = producing(3, attempt=1, resume=6, window_bytes=10, consumed=3, ahead_bytes=7)
    assert bench.step(AskPosition(S, 1)) == [PositionIs(S, 2)]
    meter = bench.process.executor.reports.metering.meters[S]  # type: ignore[union-attr]  # a worker
    assert list(meter.sizes) == [7]


def test_a_body_is_held_for_the_bytes_of_its_yields_that_are_on_their_way() -> None:
    bench = producing(2)
    bench.acks = False
    half = bytes(ITEM_BYTES_UNACKED_MAX // 2)
    yields(bench, half, half)
    assert those(yields(bench, b"a", b"b"), HoldBody) == [HoldBody(S)]


def test_the_end_of_a_stream_counts_items() -> None:
    bench = producing(2)
    yields(bench, b"a", b"b")
    bench.now_ns += LINE_BUSY_NS
    ended = bench.step(TaskEnded(S, 0, OUTCOME_VALUE, ()))
    sent = [effect.message for effect in ended if isinstance(effect, Send)]
    (end,) = [message for message in sent if isinstance(message, ReportEnd)]
    assert end.count == 2


# -- handed over ---------------------------------------------------------------------------------
class Lending(LendingBench):
    """As the bench of lending, with yields of two items."""

    def __init__(self, count: int, *, window: int = 0) -> None:
        super().__init__(0, window=window, per_yield=2)
        self.feed(count)


def test_a_holder_is_sent_whole_yields() -> None:
    bench = Lending(8)
    bench.lend()
    assert items(bench.say(ONE, ask(room=5))) == [(ONE, 0, 4, False)]
    assert items(bench.say(ONE, ask(2, room=5))) == [(ONE, 4, 2, False)]


def test_a_holder_of_a_stream_with_a_window_is_sent_one_yield_of_it() -> None:
    bench = Lending(4, window=2)
    bench.lend()
    assert items(bench.say(ONE, ask())) == [(ONE, 0, 2, False)]
    done = bench.say(ONE, ask(2))
    assert [message.upto for message in granted_to(done)] == [2]
    assert items(done) == [(ONE, 2, 2, False)]


def granted_to(effects: list[Effect]) -> list[Consumed]:
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    return [message for message in sent if isinstance(message, Consumed)]


def test_what_comes_back_comes_back_in_whole_yields() -> None:
    bench = Lending(6, window=3)
    bench.lend()
    bench.say(ONE, ask())
    bench.say(ONE, leave(2))
    assert bench.got(1) == ([2, 3], False)
    assert bench.got(64) == ([4, 5], False)


def test_no_holder_takes_a_part_of_a_yield() -> None:
    bench = Lending(4)
    bench.lend()
    bench.say(ONE, ask())
    with pytest.raises(RemoteProtocolError):
        bench.process.owner.handover.lending.on_take(ONE, ask(1), 0, [])


def test_who_reads_a_stream_of_another_process_takes_whole_yields() -> None:
    bench = FarBench(per_yield=3)
    claims = [send.message for send in bench.claimed if isinstance(send, Send)]
    (claim,) = [message for message in claims if isinstance(message, TakeStream)]
    assert claim.room_count == LOAN_ROOM_COUNT - LOAN_ROOM_COUNT % 3
    bench.items(0, 6)
    assert bench.take() == (list(item_ids(S, 0, 3)), False)
    with pytest.raises(RemoteProtocolError):
        bench.bench.process.owner.handover.far.on_items(
            DRIVER, StreamItems(S, 1, 0, 1, 6, 2, False), 0, []
        )


def test_a_holder_has_room_for_one_yield_at_least() -> None:
    bench = FarBench(per_yield=100)
    claims = [send.message for send in bench.claimed if isinstance(send, Send)]
    assert [each.room_count for each in claims if isinstance(each, TakeStream)] == [100]
