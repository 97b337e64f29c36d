"""Windows in bytes, and of all streams of an actor: what owners tell, and where bodies wait."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.unit.core.bench import OwnerBench
from tests.unit.core.names import (
    ME,
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
from tests.unit.core.test_executor import Worker
from tests.unit.core.test_executor_actors import ACTOR, Host
from tests.unit.core.test_windows import granted
from zgen.core.effects import Effect, HoldBody, ReleaseBody, Send
from zgen.core.events import TaskEnded, Yielded
from zgen.core.in_stream import InStream, open_window
from zgen.core.state_report import parked_by
from zgen.core.stream_words import AskPosition, AskRoom
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import RemoteProtocolError
from zgen.ids import LeaseId
from zgen.limits import LINE_BUSY_NS, SECOND
from zgen.wire.actor import ActorSettings
from zgen.wire.store import Place
from zgen.wire.stream import (
    PARKED_BY_ACTOR,
    PARKED_BY_BYTES,
    PARKED_BY_ITEMS,
    CloseStream,
    Consumed,
    ReportEnd,
    ReportItems,
    StreamParked,
)
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_VALUE,
    STREAMING,
    CancelTask,
    PushedCall,
    PushedTask,
    PushTasks,
)
from zgen.wire.value import Parcel, Stored, Value, room_bytes

S, T = task("s"), task("t")
L = lease("l")


def wide(window_bytes: int, window: int = 0, retries: int = 0) -> TaskSpec:
    spec = stream_spec("s", retries=retries)
    return dataclasses.replace(spec, window=window, window_bytes=window_bytes)


def sized(*sizes: int) -> tuple[bytes, ...]:
    return tuple([bytes(size) for size in sizes])


def reading(window_bytes: int, *sizes: int) -> OwnerBench:
    """An owner whose producer has reported items of these sizes."""
    bench = OwnerBench().running(wide(window_bytes, retries=1))
    bench.items("s", 0, *sized(*sizes))
    return bench


def taken(effects: list[Effect]) -> int:
    return len(effects[0].objects)  # type: ignore[union-attr]  # ItemsTaken


# -- the owner -----------------------------------------------------------------------------------
def test_a_quarter_of_the_bytes_is_handed_over_and_told_at_a_time() -> None:
    bench = reading(100, *[5] * 20)
    assert (taken(bench.take("s")), granted(bench.take("s", 0))) == (5, [5])
    assert [taken(bench.take("s")) for _ in range(3)] == [5, 5, 5]
    assert bench.owner.streams.streams[S].ahead_bytes == 20


def test_an_item_that_is_larger_than_a_quarter_is_handed_over_alone() -> None:
    bench = reading(100, 5, 60, 5, 5)
    assert [taken(bench.take("s")) for _ in range(3)] == [1, 1, 2]


def test_small_items_are_handed_over_as_many_as_are_asked_for() -> None:
    assert taken(reading(100, *[1] * 9).take("s", 4)) == 4


def test_each_item_is_told_of_where_the_window_is_narrower_than_any() -> None:
    bench = reading(1, 10, 10)
    assert [granted(bench.take("s")) for _ in range(2)] == [[1], [2]]


def test_items_count_too_where_there_is_a_window_of_both_kinds() -> None:
    bench = OwnerBench().running(wide(1_000_000, window=2))
    bench.items("s", 0, b"a", b"b")
    assert [granted(bench.take("s")) for _ in range(2)] == [[1], [2]]


def test_a_producer_that_waits_is_told_when_all_is_taken() -> None:
    bench = reading(100, 10, 10)
    assert bench.hear(WORKER, StreamParked(S, 0, PARKED_BY_BYTES)) == []
    assert granted(bench.take("s", 1)) == []
    assert granted(bench.take("s", 1)) == [2]
    assert granted(bench.take("s", 1)) == [], "it was told"


def test_a_producer_that_waits_after_all_was_taken_is_told_at_once() -> None:
    bench = reading(100, 10)
    assert granted(bench.take("s")) == []
    told = bench.hear(WORKER, StreamParked(S, 0, PARKED_BY_BYTES))
    assert told == [Send(WORKER, Consumed(S, 0, 1))]


def test_a_part_that_is_told_on_the_way_does_not_end_the_wait() -> None:
    bench = reading(100, 30, 10)
    bench.hear(WORKER, StreamParked(S, 0, PARKED_BY_BYTES))
    assert [granted(bench.take("s", 1)) for _ in range(2)] == [[1], [2]]


def test_a_producer_that_reports_waits_no_more() -> None:
    bench = reading(100, 10)
    bench.hear(WORKER, StreamParked(S, 0, PARKED_BY_BYTES))
    bench.items("s", 1, bytes(10))
    assert bench.owner.streams.streams[S].parked_by == 0
    assert granted(bench.take("s", 1)) == granted(bench.take("s", 1)) == []


def test_who_waits_for_no_window_or_for_nobody_is_not_heard() -> None:
    plain = OwnerBench().running(stream_spec("s"))
    assert plain.hear(WORKER, StreamParked(S, 0, PARKED_BY_ITEMS)) == []
    assert plain.owner.streams.streams[S].parked_by == 0
    bench = reading(100, 10)
    assert bench.hear(WORKER, StreamParked(S, 1, PARKED_BY_BYTES)) == [], "of another attempt"
    with pytest.raises(RemoteProtocolError):
        bench.hear(OTHER_WORKER, StreamParked(S, 0, PARKED_BY_BYTES))
    bench.end("s", 1)
    assert bench.hear(WORKER, StreamParked(S, 0, PARKED_BY_BYTES)) == []


def test_a_stream_of_which_nobody_knows_any_more_parks_nobody() -> None:
    bench = reading(100, 10)
    assert not bench.owner.streams.park(T, PARKED_BY_BYTES)


def test_an_error_behind_the_items_has_no_bytes() -> None:
    bench = reading(100, 10)
    bench.down()
    bench.advance(SECOND)
    bench.grant(2, OTHER_WORKER)
    bench.down(OTHER_WORKER)
    assert [taken(bench.take("s")) for _ in range(2)] == [1, 1]
    assert bench.owner.streams.streams[S].ahead_bytes == 0


def test_a_push_says_how_many_bytes_wait_of_earlier_attempts() -> None:
    bench = reading(100, 10, 20, 30)
    bench.take("s", 1)
    bench.down()
    bench.advance(SECOND)
    (push,) = [e.message for e in bench.grant(2, OTHER_WORKER) if isinstance(e, Send)][-1:]
    (said,) = push.tasks
    assert (said.window_bytes, said.consumed, said.resume, said.ahead_bytes) == (100, 1, 3, 50)


# -- the producer --------------------------------------------------------------------------------
def stream(
    name: str = "s", window_bytes: int = 0, window: int = 0, attempt: int = 0, **flow: Any
) -> PushedTask:
    plain = pushed(name, attempt, STREAMING)
    return dataclasses.replace(plain, window_bytes=window_bytes, window=window, **flow)


def producing(window_bytes: int, **flow: int) -> ProcessBench:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (stream("s", window_bytes, **flow),)))
    return bench


def yields(bench: ProcessBench, value: Value, attempt: int = 0) -> list[Effect]:
    bench.now_ns += LINE_BUSY_NS
    return bench.step(Yielded(S, attempt, value))


def written(bench: ProcessBench, size_bytes: int) -> Stored:
    """A value that the body has written into shared memory."""
    bench.process.store.stock.writing[1] = False
    return Stored(
        NODE, 1, Place(1, 0, room_bytes((size_bytes,)), 1 << 20, False), b"", (size_bytes,)
    )


def items(first: int, *values: bytes, attempt: int = 0) -> Send:
    return Send(DRIVER, ReportItems(S, attempt, first, values))


def parked(by: int = PARKED_BY_BYTES, attempt: int = 0) -> Send:
    return Send(DRIVER, StreamParked(S, attempt, by))


def test_an_item_that_does_not_fit_leaves_when_it_does() -> None:
    bench = producing(100)
    a, b, c = sized(60, 39, 50)
    assert yields(bench, a) == [items(0, a)]
    assert yields(bench, b) == [items(1, b)]
    assert yields(bench, c) == [HoldBody(S), parked()]
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == [items(2, c), ReleaseBody(S)]


def test_the_last_item_of_a_window_parks_its_body() -> None:
    bench = producing(100)
    a, b = sized(100, 1)
    assert yields(bench, a) == [items(0, a), HoldBody(S), parked()]
    assert bench.say(DRIVER, Consumed(S, 0, 0)) == []
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == [ReleaseBody(S)]
    assert yields(bench, b) == [items(1, b)]


def test_an_item_that_was_kept_back_may_fill_the_window_anew() -> None:
    bench = producing(100)
    a, b = sized(60, 100)
    yields(bench, a)
    yields(bench, b)
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == [items(1, b), parked()]
    assert bench.say(DRIVER, Consumed(S, 0, 2)) == [ReleaseBody(S)]


def test_what_waits_for_company_leaves_before_a_body_waits() -> None:
    bench = producing(100)
    a, b, c = sized(10, 20, 90)
    yields(bench, a)
    assert bench.step(Yielded(S, 0, b)) == []
    assert bench.step(Yielded(S, 0, c)) == [items(1, b), HoldBody(S), parked()]


def test_a_large_item_waits_before_it_is_written() -> None:
    bench = producing(1000)
    yields(bench, bytes(200))
    assert bench.step(AskRoom(S, 0, 900)) == [HoldBody(S), parked()]
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == [ReleaseBody(S)]
    stored = written(bench, 900)
    assert those(yields(bench, stored), HoldBody, ReleaseBody) == []
    assert those(yields(bench, bytes(101)), HoldBody) == [HoldBody(S)]


def test_a_large_item_that_fits_waits_for_nothing() -> None:
    bench = producing(1000)
    assert bench.step(AskRoom(S, 0, 5000)) == []
    stored = written(bench, 5000)
    assert those(yields(bench, stored), HoldBody) == [HoldBody(S)], "larger than the window"


def test_who_has_no_window_in_bytes_is_not_held_for_a_large_item() -> None:
    bench = producing(0, window=1)
    assert bench.step(AskRoom(S, 0, 1 << 30)) == bench.step(AskRoom(T, 0, 1 << 30)) == []


def test_only_the_attempt_that_runs_is_granted() -> None:
    bench = producing(100, attempt=1)
    yields(bench, bytes(100), attempt=1)
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == []
    assert bench.say(DRIVER, Consumed(S, 1, 1)) == [ReleaseBody(S)]


def test_what_a_replay_repeats_does_not_wait() -> None:
    bench = producing(100, attempt=1, consumed=2)
    assert those([*yields(bench, bytes(90), 1), *yields(bench, bytes(90), 1)], HoldBody) == []
    assert those(yields(bench, bytes(90), 1), HoldBody) == []
    assert those(yields(bench, bytes(90), 1), HoldBody) == [HoldBody(S)]


def test_a_body_that_goes_on_behind_unread_items_counts_their_bytes() -> None:
    bench = producing(100, attempt=1, consumed=1, resume=4, ahead_bytes=80)
    bench.step(AskPosition(S, 1))
    assert yields(bench, bytes(30), 1) == [HoldBody(S), parked(attempt=1)]
    assert those(bench.say(DRIVER, Consumed(S, 1, 4)), ReleaseBody) == [ReleaseBody(S)]


def test_what_a_cancelled_body_has_kept_back_was_never_yielded() -> None:
    bench = producing(100)
    yields(bench, bytes(90))
    yields(bench, bytes(90))
    assert those(bench.say(DRIVER, CancelTask(S, 0, False, False)), ReleaseBody) == [ReleaseBody(S)]
    sent = [e.message for e in bench.step(TaskEnded(S, 0, OUTCOME_CANCELLED, ()))]  # type: ignore[union-attr]  # a Send
    assert [message.count for message in sent] == [1]


def test_an_owner_says_why_a_body_waits_as_far_as_it_knows() -> None:
    record = InStream("s", position=4, known=4)
    assert parked_by(record) == 0
    open_window(record, 4, 100)
    assert parked_by(record) == PARKED_BY_ITEMS
    record.granted = 1
    assert parked_by(record) == 0
    record.parked_by = PARKED_BY_BYTES
    assert parked_by(record) == PARKED_BY_BYTES


@pytest.mark.parametrize("how", ["dropped", "closed"])
def test_an_item_that_was_kept_back_for_nobody_goes_nowhere(how: str) -> None:
    bench = producing(100)
    yields(bench, bytes(90))
    yields(bench, Parcel(bytes(90), (), False))
    done = bench.say(DRIVER, CloseStream(S, 0, how == "closed"))
    assert those(done, ReleaseBody) == [ReleaseBody(S)]
    assert those(yields(bench, bytes(90)), HoldBody) == []
    (end,) = [
        effect.message
        for effect in bench.step(TaskEnded(S, 0, OUTCOME_VALUE, ()))
        if isinstance(effect, Send)
    ]
    assert isinstance(end, ReportEnd)
    assert end.count == 3


def test_a_parked_body_whose_owner_is_dead_goes_on() -> None:
    worker = Worker()
    worker.push(stream("s", 100))
    reports, out = worker.executor.reports, list[Effect]()
    reports.add_item(S, 0, bytes(100), 0, out)
    worker.executor.parking.park(S, out)
    out.clear()
    worker.executor.on_owner_down(ME, False, 0, out)
    worker.executor.check()
    assert out == [ReleaseBody(S)]


# -- all streams of an actor ---------------------------------------------------------------------
def hosting(items_max: int = 0, bytes_max: int = 0) -> Host:
    """An actor that runs the streams ``s`` and ``t``."""
    settings = ActorSettings(
        max_concurrency=4, max_pending_items=items_max, max_pending_bytes=bytes_max
    )
    host = Host().alive(settings)
    calls = tuple([PushedCall(ACTOR, "method")] * 2)
    both = (stream("s", bytes_max, items_max), stream("t", bytes_max, items_max))
    host.hear(PushTasks(LeaseId(ACTOR), 0, both, 0, calls))
    return host


def fills(host: Host, name: str, count: int = 1) -> list[bool]:
    """Yield items of 10 bytes; return whether the body waits after each."""
    waits: list[bool] = []
    for _ in range(count):
        host.now_ns += LINE_BUSY_NS
        out: list[Effect] = []
        waits.append(host.executor.reports.add_item(task(name), 0, bytes(10), host.now_ns, out))
        if waits[-1]:
            host.executor.parking.park(task(name), out)
        host.executor.check()
    return waits


def test_bodies_of_an_actor_wait_for_each_others_consumers() -> None:
    host = hosting(items_max=3)
    assert fills(host, "s") == [True]
    assert host.hear(Consumed(S, 0, 1)) == [ReleaseBody(S)]
    assert fills(host, "s") == [True]
    assert fills(host, "t") == [True]
    assert host.hear(Consumed(T, 0, 1)) == [ReleaseBody(T)]


def test_the_end_of_one_stream_of_an_actor_lets_another_go_on() -> None:
    host = hosting(bytes_max=20)
    assert fills(host, "s") == [True]
    assert fills(host, "t") == [True]
    why = [each.parked_by for each in host.executor.reports.metering.meters.values()]
    assert why == [PARKED_BY_ACTOR, PARKED_BY_ACTOR]
    host.hear(CloseStream(S, 0))
    assert T not in host.executor.reports.metering.parked
    assert fills(host, "t") == [True]
    host.ended("s")
    assert T in host.executor.reports.metering.parked


def test_a_stream_that_ends_makes_room_for_those_that_run() -> None:
    host = hosting(items_max=2)
    assert fills(host, "s") == fills(host, "t") == [True]
    (released,) = those(host.ended("s"), ReleaseBody)
    assert released == ReleaseBody(T)
