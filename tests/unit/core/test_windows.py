"""Backpressure in items: what the owner grants, and where the producer parks."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.core.bench import OwnerBench, asked
from tests.unit.core.names import (
    ME,
    NODE,
    OTHER_WORKER,
    WORKER,
    lease,
    peer,
    pushed,
    stream_spec,
    task,
    those,
)
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from zgen.core.effects import Effect, HoldBody, ItemsTaken, ReleaseBody, Send, StartTask
from zgen.core.events import BodyBlocked, ProcessExited, SubmitTask, TakeItems, TaskEnded, Yielded
from zgen.core.stream_in import StreamsIn
from zgen.core.stream_out import StreamsOut
from zgen.core.task_spec import TaskSpec
from zgen.ids import item_ids
from zgen.limits import LINE_BUSY_NS, LINE_TICK_NS, SECOND
from zgen.wire.lease import LeaseGranted, WorkerBlocked
from zgen.wire.session import Address
from zgen.wire.stream import CloseStream, Consumed, ReportEnd, ReportItems
from zgen.wire.task import OUTCOME_ERROR, OUTCOME_VALUE, STREAMING, PushedTask, PushTasks
from zgen.wire.value import Parcel

S = task("s")
L = lease("l")


def windowed(window: int, retries: int = 0) -> TaskSpec:
    return dataclasses.replace(stream_spec("s", retries=retries), window=window)


def items(count: int) -> tuple[bytes, ...]:
    return tuple(b"%d" % index for index in range(count))


def reading(window: int, count: int) -> OwnerBench:
    """An owner whose producer has reported ``count`` items."""
    bench = OwnerBench().running(windowed(window, retries=1))
    bench.items("s", 0, *items(count))
    return bench


def granted(effects: list[Effect]) -> list[int]:
    said = [effect.message for effect in effects if isinstance(effect, Send)]
    return [message.upto for message in said if isinstance(message, Consumed)]


# -- the owner -----------------------------------------------------------------------------------
@pytest.mark.parametrize("window", [1, 2, 15])
def test_the_producer_hears_of_each_item_where_the_window_is_narrow(window: int) -> None:
    bench = reading(window, 3)
    for index in range(3):
        assert bench.take("s") == [
            ItemsTaken(S, item_ids(S, index, 1), False),
            Send(WORKER, Consumed(S, 0, index + 1)),
        ]
    assert bench.take("s") == [ItemsTaken(S, (), False)]


def test_the_producer_hears_of_a_third_at_a_time_where_the_window_is_wide() -> None:
    bench = reading(64, 64)
    assert granted(bench.take("s")) == [], "one item of a third of the window was handed out"
    assert [granted(bench.take("s")) for _ in range(3)] == [[22], [43], [64]]
    assert granted(bench.take("s")) == [], "it was told"


def test_who_comes_back_for_the_item_that_a_part_lacks_tells_of_the_others() -> None:
    bench = reading(64, 20)
    assert granted(bench.take("s")) == []
    assert granted(bench.take("s")) == [20], "there is nothing, so all before was taken"
    bench.items("s", 20, *items(64))
    assert [granted(bench.take("s")) for _ in range(3)] == [[], [42], [63]]


def test_a_part_lacks_more_than_one_item_and_is_not_told() -> None:
    bench = reading(64, 19)
    assert [granted(bench.take("s")) for _ in range(3)] == [[], [], []]


def test_items_that_are_taken_over_ahead_do_not_count_before_their_time() -> None:
    bench = reading(64, 3)
    assert granted(bench.take("s")) == []
    assert bench.owner.streams.streams[S].consumed == 1
    assert granted(bench.take("s")) == []
    assert bench.owner.streams.streams[S].consumed == 3


def test_who_takes_items_one_by_one_grants_by_parts_all_the_same() -> None:
    bench = reading(16, 17)
    said = [granted(bench.take("s", 1)) for _ in range(16)]
    assert said == [*[[], [], [], [], [5]], *[[], [], [], [], [10]], *[[], [], [], [], [15]], []]


def test_a_stream_without_a_window_grants_nothing_and_is_taken_over_whole() -> None:
    bench = reading(0, 64)
    assert bench.take("s") == [ItemsTaken(S, item_ids(S, 0, 64), False)]


def test_nothing_is_granted_after_the_end() -> None:
    bench = reading(1, 2)
    bench.end("s", 2)
    assert bench.take("s") == [ItemsTaken(S, item_ids(S, 0, 1), False)]
    assert bench.take("s") == [ItemsTaken(S, item_ids(S, 1, 1), True)]


def test_a_push_says_how_wide_the_window_is_and_what_was_taken() -> None:
    bench = reading(2, 2)
    bench.take("s")
    bench.down()
    assert granted(bench.take("s")) == [], "there is no producer to hear it"
    bench.advance(SECOND)
    pushes = those(bench.grant(2, OTHER_WORKER), Send)
    message = pushes[-1].message  # type: ignore[union-attr]  # a Send
    assert isinstance(message, PushTasks)
    assert (message.tasks[0].attempt, message.tasks[0].window, message.tasks[0].consumed) == (
        1,
        2,
        2,
    )
    assert message.lease == asked(2)
    bench.hear(OTHER_WORKER, ReportItems(S, 1, 0, items(3)))
    assert bench.take("s")[1:] == [Send(OTHER_WORKER, Consumed(S, 1, 3))]


def test_a_stream_whose_handle_is_gone_is_pushed_without_grants() -> None:
    bench = OwnerBench()
    bench.submit(windowed(2))
    bench.drop(streams=(S,))
    (push, closed) = [
        effect.message for effect in those(bench.grant(), Send)[1:] if isinstance(effect, Send)
    ]
    assert push.tasks[0].consumed == 0
    assert closed == CloseStream(S, 0)


def test_a_producer_of_a_stream_that_is_over_begins_with_nothing() -> None:
    assert StreamsIn().grant_first(S) == 0


def test_a_process_sends_what_it_grants_and_keeps_its_deadlines() -> None:
    bench = ProcessBench()
    bench.meet("driver")
    bench.process.owner.placement.pushing.define(windowed(1).function, b"pickle")
    bench.step(SubmitTask(windowed(1)))
    lease_asked = next(iter(bench.process.owner.placement.leases.pools.values())).open
    address = Address(DRIVER, 1, "ipc://driver")
    bench.say(NODE, LeaseGranted(next(iter(lease_asked)), address, 7))
    bench.say(DRIVER, ReportItems(S, 0, 0, (b"a",)))
    bench.acks = False
    assert bench.step(TakeItems(S, 64)) == [
        ItemsTaken(S, item_ids(S, 0, 1), False),
        Send(DRIVER, Consumed(S, 0, 1)),
    ]
    assert bench.due() is not None, "it is sent again if it is lost"
    assert bench.step(TakeItems(S, 64)) == [ItemsTaken(S, (), False)]


# -- the producer --------------------------------------------------------------------------------
def stream(window: int, consumed: int = 0, attempt: int = 0) -> PushedTask:
    return dataclasses.replace(pushed("s", attempt, STREAMING), window=window, consumed=consumed)


def producing(window: int, consumed: int = 0, attempt: int = 0) -> ProcessBench:
    """A worker that runs a stream with a window."""
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (stream(window, consumed, attempt),)))
    return bench


def yields(bench: ProcessBench, count: int, attempt: int = 0) -> list[Effect]:
    """Let the body yield on an idle line; return what becomes of it but for the reports."""
    out: list[Effect] = []
    for _ in range(count):
        bench.now_ns += LINE_BUSY_NS
        out += bench.step(Yielded(S, attempt, b"item"))
    return those(out, HoldBody, ReleaseBody)


@pytest.mark.parametrize("window", [1, 2, 64])
def test_the_body_parks_after_the_last_item_of_its_window(window: int) -> None:
    bench = producing(window)
    assert yields(bench, window - 1) == []
    assert yields(bench, 1) == [HoldBody(S)]
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == [ReleaseBody(S)]
    assert yields(bench, 1) == [HoldBody(S)]


def test_the_last_item_of_a_window_waits_for_no_company() -> None:
    bench = producing(2)
    bench.step(Yielded(S, 0, b"a"))
    report = ReportItems(S, 0, 1, (b"b",))
    assert bench.step(Yielded(S, 0, b"b")) == [Send(DRIVER, report), HoldBody(S)]


def test_what_a_body_yields_after_it_was_parked_leaves_together() -> None:
    bench = producing(2)
    yields(bench, 2)
    bench.now_ns += SECOND
    assert bench.say(DRIVER, Consumed(S, 0, 2)) == [ReleaseBody(S)]
    assert bench.step(Yielded(S, 0, b"c")) == [], "its consumer has items left as a rule"
    assert bench.step(Yielded(S, 0, b"d"))[0] == Send(DRIVER, ReportItems(S, 0, 2, (b"c", b"d")))


def test_what_was_yielded_after_that_waits_no_longer_than_else() -> None:
    bench = producing(3)
    yields(bench, 3)
    bench.now_ns += SECOND
    bench.say(DRIVER, Consumed(S, 0, 2))
    bench.step(Yielded(S, 0, b"d"))
    assert bench.advance(LINE_TICK_NS) == [Send(DRIVER, ReportItems(S, 0, 3, (b"d",)))]


def test_a_grant_before_the_window_is_full_moves_its_end() -> None:
    bench = producing(2)
    assert yields(bench, 1) == []
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == []
    assert yields(bench, 1) == []
    assert bench.say(DRIVER, Consumed(S, 0, 0)) == [], "an end never moves back"
    assert yields(bench, 1) == [HoldBody(S)]


def test_only_its_owner_grants_and_only_for_its_attempt() -> None:
    bench = producing(1, attempt=1)
    bench.meet("other")
    yields(bench, 1, attempt=1)
    assert bench.say(peer("other"), Consumed(S, 1, 1)) == []
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == []
    assert bench.say(DRIVER, Consumed(S, 1, 1)) == [ReleaseBody(S)]


def test_a_stream_without_a_window_is_never_parked_by_a_grant() -> None:
    bench = producing(0)
    assert yields(bench, 100) == []
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == []


def test_what_a_replay_repeats_does_not_park_it() -> None:
    bench = producing(2, consumed=5, attempt=1)
    assert yields(bench, 6, attempt=1) == []
    assert yields(bench, 1, attempt=1) == [HoldBody(S)]


def test_items_that_are_taken_while_a_replay_queues_count() -> None:
    bench = worker_bench()
    first = pushed("first")
    others = (stream(1, 2, attempt=1), pushed("t", returns=STREAMING))
    bench.say(DRIVER, PushTasks(L, 0, (first, *others)))
    bench.say(DRIVER, Consumed(S, 1, 4), Consumed(task("t"), 3, 9))
    started = those(bench.step(TaskEnded(task("first"), 0, OUTCOME_VALUE, (b"v",))), StartTask)
    assert len(started) == 1
    assert yields(bench, 4, attempt=1) == []
    assert yields(bench, 1, attempt=1) == [HoldBody(S)]


def test_a_body_whose_consumer_is_gone_runs_on_unhindered() -> None:
    bench = producing(1)
    yields(bench, 1)
    assert bench.say(DRIVER, CloseStream(S, 7)) == [], "of another attempt"
    assert bench.say(DRIVER, CloseStream(S, 0)) == [ReleaseBody(S)]
    assert yields(bench, 9) == []
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == []
    end = ReportEnd(S, 0, 10, OUTCOME_VALUE, 10 * LINE_BUSY_NS, ())
    assert bench.step(TaskEnded(S, 0, OUTCOME_VALUE, ())) == [Send(DRIVER, end)]


def test_a_body_whose_owner_is_dead_is_released() -> None:
    bench = producing(1)
    yields(bench, 1)
    bench.step(ProcessExited(DRIVER, 1, "killed"))
    assert those(bench.quiet(), ReleaseBody) == [ReleaseBody(S)]
    assert yields(bench, 3) == []


def test_a_parked_body_that_ends_is_forgotten() -> None:
    bench = producing(1)
    yields(bench, 1)
    error = Parcel(b"interrupted", (), True)
    assert those(bench.step(TaskEnded(S, 0, OUTCOME_ERROR, (error,))), ReleaseBody) == []
    bench.say(DRIVER, PushTasks(L, 1, (pushed("t", returns=STREAMING),)))
    assert not bench.process.executor.holds.bodies  # type: ignore[union-attr]  # a worker


def test_a_parked_body_can_give_its_cpu_away() -> None:
    bench = producing(1)
    yields(bench, 1)
    assert bench.step(BodyBlocked(True)) == [Send(NODE, WorkerBlocked(L, True))]
    assert bench.say(DRIVER, Consumed(S, 0, 1)) == [ReleaseBody(S)]
    assert bench.step(BodyBlocked(False)) == [Send(NODE, WorkerBlocked(L, False))]


# -- check ---------------------------------------------------------------------------------------
def test_check_finds_a_body_that_is_ahead_of_its_window() -> None:
    table = StreamsOut()
    table.open(S, 0, ME, 1)
    table.streams[S].count = table.streams[S].first = 2
    with pytest.raises(AssertionError):
        table.check()


def test_check_finds_bodies_that_are_parked_for_nothing_or_not_at_all() -> None:
    for broken in ("not parked", "no stream"):
        bench = producing(1)
        yields(bench, 1)
        executor = bench.process.executor
        assert executor is not None
        if broken == "not parked":
            executor.holds.bodies.clear()
        else:
            executor.reports.streams.clear()
        with pytest.raises(AssertionError, match=r"parked|no stream"):
            executor.check()
