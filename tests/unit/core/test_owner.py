"""What one process submitted: streams and references end to end, and bad peers."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import (
    ERROR,
    ERROR_ENTRY,
    OwnerBench,
    asked,
    outcome,
    push,
)
from tests.unit.core.names import (
    NODE,
    OTHER_WORKER,
    WORKER,
    peer,
    pushed,
    result,
    spec,
    stream_spec,
    task,
)
from zgen.core.deadlines import earliest
from zgen.core.effects import (
    Effect,
    ItemsTaken,
    NodeAnswered,
    NodeLost,
    ObjectsReady,
    PrintLines,
    Send,
    StreamAdvanced,
)
from zgen.core.task_table import Doing
from zgen.exceptions import RemoteProtocolError
from zgen.ids import COMPLETION_INDEX, item_ids
from zgen.limits import SECOND
from zgen.wire.lease import LogLines, NodeReport
from zgen.wire.schema import Buffers
from zgen.wire.store import Place
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    TasksDone,
    TasksReturned,
)
from zgen.wire.value import NONE, Fault, FaultKind, Parcel, Stored, pack

S = task("s")
COMPLETION = result("s", COMPLETION_INDEX)
NODE_LOST = Fault(FaultKind.NODE_DIED, "", "it is gone")


def streaming() -> OwnerBench:
    return OwnerBench().running(stream_spec("s"))


# -- streams -------------------------------------------------------------------------------------
def test_items_become_references_in_order_and_then_the_stream_ends() -> None:
    bench = streaming()
    assert bench.items("s", 0, b"a", (0, b"b", 1), buffers=Buffers((b"raw",))) == [
        StreamAdvanced(S)
    ]
    assert bench.take("s", 1) == [ItemsTaken(S, item_ids(S, 0, 1), False)]
    done = bench.end("s", 2)
    assert done == [StreamAdvanced(S)]
    assert bench.take("s") == [ItemsTaken(S, item_ids(S, 1, 1), True)]
    assert bench.take("s") == [ItemsTaken(S, (), True)]
    assert [bench.value(name) for name in item_ids(S, 0, 2)] == [b"a", Parcel(b"b", (b"raw",))]
    bench.drop(*item_ids(S, 0, 2), streams=(S,))
    assert bench.is_empty()


def test_an_error_is_an_item_behind_the_others() -> None:
    bench = streaming()
    bench.items("s", 0, b"a")
    bench.end("s", 1, ERROR_ENTRY, kind=OUTCOME_ERROR)
    assert bench.take("s") == [ItemsTaken(S, item_ids(S, 0, 2), True)]
    assert bench.value(item_ids(S, 1, 1)[0]) == ERROR


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_completion_has_a_value_when_the_stream_has_ended(when: str) -> None:
    bench = streaming()
    if when == "before":
        bench.ref_completion("s")
        assert bench.value(COMPLETION) is None
        assert bench.end("s", 0) == [StreamAdvanced(S), ObjectsReady((COMPLETION,))]
    else:
        bench.end("s", 0)
        bench.ref_completion("s")
    assert bench.value(COMPLETION) == NONE
    bench.ref_completion("s")
    bench.drop(COMPLETION, COMPLETION, streams=(S,))
    assert bench.is_empty()


def test_a_stream_that_nobody_reads_any_more_tells_its_producer_and_leaves_nothing() -> None:
    bench = streaming()
    bench.items("s", 0, b"a")
    assert bench.drop(streams=(S,)) == [Send(WORKER, CloseStream(S, 0))]
    assert bench.drop(streams=(S,)) == []
    assert bench.items("s", 1, b"b") == []
    assert bench.end("s", 7) == [StreamAdvanced(S)]
    assert bench.is_empty()


def test_a_stream_that_is_dropped_before_it_is_pushed_runs_and_leaves_nothing() -> None:
    bench = OwnerBench()
    bench.submit(stream_spec("s"))
    assert bench.drop(streams=(S,)) == []
    assert bench.grant()[-2:] == [
        push(0, pushed("s", returns=STREAMING)),
        Send(WORKER, CloseStream(S, 0)),
    ]
    bench.end("s", 0)
    assert bench.is_empty()


def test_the_producer_of_a_retry_hears_that_nobody_reads_the_stream_any_more() -> None:
    bench = OwnerBench().running(stream_spec("s", retries=1))
    bench.end("s", 0, ERROR_ENTRY, kind=OUTCOME_RETRY)
    assert bench.drop(streams=(S,)) == []
    assert bench.advance(0) == [
        push(1, pushed("s", attempt=1, returns=STREAMING)),
        Send(WORKER, CloseStream(S, 1)),
    ]
    bench.end("s", 7, attempt=1)
    assert bench.is_empty()


def test_a_stream_that_is_handed_back_is_pushed_with_the_same_word() -> None:
    bench = OwnerBench().running(spec("a"), stream_spec("s"))
    assert bench.drop(streams=(S,)) == [Send(WORKER, CloseStream(S, 0))]
    bench.hear(WORKER, TasksReturned(asked(), ((S, 0),)))
    done = bench.done(outcome("a", b"value"))
    assert done[-1] == Send(WORKER, CloseStream(S, 0))


def test_the_end_of_a_stream_makes_room_for_the_next_task() -> None:
    bench = streaming()
    bench.submit(spec("a"))
    assert bench.end("s", 0)[-1] == push(1, pushed("a"))


# -- bad peers -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "message",
    [
        ReportEnd(S, 0, 1, OUTCOME_VALUE, 0, ()),
        ReportEnd(S, 0, 0, OUTCOME_VALUE, 0, (ERROR_ENTRY,)),
        ReportEnd(S, 0, 0, OUTCOME_ERROR, 0, ()),
        ReportEnd(S, 0, 0, OUTCOME_ERROR, 0, (ERROR_ENTRY, ERROR_ENTRY)),
        ReportEnd(S, 0, 0, OUTCOME_ERROR, 0, ((1, b"", 1),)),
        ReportEnd(task("a"), 0, 0, OUTCOME_VALUE, 0, ()),
        ReportItems(S, 0, 0, ((0, b"", 1),)),
        ReportItems(S, 0, 1, (b"a",)),
        TasksDone((outcome("s", b"value"),)),
        TasksDone((outcome("s"),)),
        TasksDone((outcome("a"),)),
        TasksDone((outcome("a", b"1", b"2"),)),
        TasksDone((outcome("a", b"1", b"2", kind=OUTCOME_ERROR),)),
        TasksDone((outcome("a", (0, b"", 1)),)),
    ],
    ids=lambda message: str(message)[:60],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(message: object) -> None:
    bench = OwnerBench().running(stream_spec("s"), spec("a"))
    with pytest.raises(RemoteProtocolError):
        bench.hear(WORKER, message)
    assert [bench.state(name) for name in ("s", "a")] == [Doing.PUSHED] * 2
    bench.done(outcome("a", b"value"))
    bench.end("s", 0)
    assert bench.value(result("a")) == b"value"


@pytest.mark.parametrize("streams", [False, True])
def test_an_outcome_by_a_worker_that_was_not_given_the_task_is_refused(streams: bool) -> None:
    bench = OwnerBench().running(stream_spec("a") if streams else spec("a"))
    message = (
        ReportEnd(task("a"), 0, 0, OUTCOME_VALUE, 0, ())
        if streams
        else TasksDone((outcome("a", b"forged"),))
    )
    with pytest.raises(RemoteProtocolError, match="was not given the task"):
        bench.hear(OTHER_WORKER, message)
    assert bench.state("a") is Doing.PUSHED


def test_items_by_a_worker_that_was_not_given_the_stream_are_refused() -> None:
    bench = OwnerBench().running(stream_spec("s"))
    for position in range(2):  # before and after the producer has said something
        with pytest.raises(RemoteProtocolError, match="was not given the task"):
            bench.hear(OTHER_WORKER, ReportItems(S, 0, position, (b"forged",)))
        bench.items("s", position, b"item")
    assert list(bench.owner.streams.streams[S].unread) == [b"item"] * 2


def test_what_stands_in_front_of_a_bad_outcome_has_ended() -> None:
    bench = OwnerBench().running(spec("a"), spec("b"), spec("c"))
    with pytest.raises(RemoteProtocolError):
        bench.done(outcome("a", b"value"), outcome("b"), outcome("c", b"value"))
    assert bench.value(result("a")) == b"value"
    assert [bench.state(name) for name in "abc"] == [None, Doing.PUSHED, Doing.PUSHED]


def test_news_of_old_attempts_and_unknown_tasks_is_dropped() -> None:
    bench = OwnerBench().running(spec("a"))
    assert bench.done(outcome("a", b"value", attempt=1), outcome("x", b"value")) == []
    assert bench.end("x", 0) == []
    assert bench.items("x", 0, b"a") == []
    assert bench.state("a") is Doing.PUSHED


def test_what_a_generator_yielded_before_it_raised_stands_when_it_may_not_run_again() -> None:
    bench = OwnerBench().running(spec("a", returns=3, retries=1))
    partial = (b"first", b"second", ERROR_ENTRY)
    bench.done(outcome("a", *partial, kind=OUTCOME_RETRY))
    assert [bench.value(result("a", index)) for index in range(3)] == [None] * 3
    bench.advance(SECOND)
    bench.done(outcome("a", *partial, kind=OUTCOME_RETRY, attempt=1))
    assert [bench.value(result("a", index)) for index in range(3)] == [b"first", b"second", ERROR]


def test_what_lies_in_shared_memory_goes_when_its_generator_runs_again() -> None:
    bench = OwnerBench().running(spec("a", returns=2, retries=1))
    stored = Stored(NODE, 5, Place(1, 0, 4096, 4096, True), b"", (9,))
    done = TasksDone((outcome("a", *pack((stored, ERROR), []), kind=OUTCOME_RETRY),))
    bench.owner.handlers[TasksDone](WORKER, done, bench.now_ns, [])
    assert stored in bench.store.dropped
    bench.owner.borrowing.settle([])
    bench.store.settle([])
    bench.owner.check()


@pytest.mark.parametrize(
    ("kind", "count"), [(OUTCOME_VALUE, 1), (OUTCOME_ERROR, 3), (OUTCOME_RETRY, 2)]
)
def test_an_outcome_with_another_number_of_results_is_refused(kind: int, count: int) -> None:
    bench = OwnerBench().running(spec("a", returns=3, retries=1))
    with pytest.raises(RemoteProtocolError, match="expected"):
        bench.done(outcome("a", *([b"value"] * count), kind=kind))
    assert bench.state("a") is Doing.PUSHED


# -- the node ------------------------------------------------------------------------------------
def test_when_the_node_dies_all_that_runs_fails_and_what_is_held_can_be_got() -> None:
    bench = OwnerBench().running(spec("a"), stream_spec("s"))
    bench.put(result("put"))
    bench.items("s", 0, b"item")
    bench.submit(spec("b", slots=[result("a"), result("put")]))
    done = bench.down(NODE)
    assert done[-1] == NodeLost(NODE, "it is gone")
    assert bench.value(result("put")) == b"put"
    assert bench.value(result("a")) == NODE_LOST
    argument = Fault(FaultKind.ARGUMENT, "b", may_have_run=False, cause=NODE_LOST)
    assert bench.value(result("b")) == argument
    assert bench.take("s") == [ItemsTaken(S, item_ids(S, 0, 2), True)]
    assert [bench.value(name) for name in item_ids(S, 0, 2)] == [b"item", NODE_LOST]
    assert earliest(bench.owner.deadlines) is None


def test_after_the_death_of_the_node_every_call_fails_at_once() -> None:
    bench = OwnerBench()
    bench.down(NODE)
    assert bench.submit(spec("a")) == [ObjectsReady((result("a"),))]
    assert bench.value(result("a")) == NODE_LOST
    assert bench.submit(stream_spec("s")) == [StreamAdvanced(S)]
    assert bench.take("s") == [ItemsTaken(S, item_ids(S, 0, 1), True)]
    assert bench.done(outcome("a", b"late")) == []
    assert bench.down(WORKER) == []
    out: list[Effect] = []
    bench.owner.on_timer(bench.now_ns, out)
    assert out == []


# -- the rest ------------------------------------------------------------------------------------
def test_what_workers_print_is_handed_on() -> None:
    assert OwnerBench().hear(NODE, LogLines(7, True, ("line",), 2)) == [
        PrintLines(7, True, ("line",), 2)
    ]


def test_answers_of_the_node_are_handed_on() -> None:
    assert OwnerBench().hear(NODE, NodeReport(5, "{}")) == [NodeAnswered(5, "{}")]


def test_messages_for_others_are_not_handled() -> None:
    assert CloseStream not in OwnerBench().owner.handlers


@pytest.mark.parametrize("broken", ["flight", "elsewhere", "pins", "stream", "queue"])
def test_check_finds_tables_that_disagree(broken: str) -> None:
    bench = OwnerBench()
    bench.put(result("put"))
    bench.running(spec("a", slots=[result("put")]), stream_spec("s"))
    owner = bench.owner
    held = owner.placement.leases.held[asked()]
    if broken == "flight":
        del held.in_flight[task("a")]
    elif broken == "elsewhere":
        bench.submit(spec("b"))
        held.pushes = 10
        held.in_flight[task("b")] = 9
    elif broken == "pins":
        owner.refs.records[result("put")].pins = 0
    elif broken == "stream":
        owner.streams.open(task("stray"), "stray")
    else:
        owner.placement.leases.enqueue((), task("a"))
    with pytest.raises(AssertionError):
        owner.check()
    assert peer("me") != NODE
