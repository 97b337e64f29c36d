"""Shared memory through the machine of a whole process: what owners, writers and readers say."""

from __future__ import annotations

import pytest

from tests.unit.core.names import (
    FUNCTION,
    NODE,
    PAYLOAD,
    WORKER,
    lease,
    peer,
    pushed,
    result,
    spec,
    stream_spec,
    task,
    those,
)
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from tests.unit.core.test_process import GRANT
from zgen.core.effects import (
    Effect,
    ItemsTaken,
    Send,
    StartTask,
)
from zgen.core.events import (
    BodyBlocked,
    DefineTaskFunction,
    Dropped,
    PutObject,
    RefCompletion,
    SubmitTask,
    TakeItems,
    TaskEnded,
    Yielded,
)
from zgen.core.store_effects import (
    RegionGiven,
    RegionRefused,
    ValueInstead,
    ViewOpened,
    ViewRefused,
)
from zgen.core.store_events import (
    OpenView,
    RegionUnused,
    WantRegion,
)
from zgen.ids import StreamId
from zgen.limits import CONSUMER_IDLE_NS, REGIONS_AHEAD_NS
from zgen.wire.lease import ProcessDown
from zgen.wire.schema import Entry
from zgen.wire.store import (
    REFUSED_FULL,
    AskEvict,
    Evict,
    HoldRegions,
    LeasedRegion,
    Place,
    RegionsHeld,
    RegionsLeased,
    RegionsOrphaned,
    RegionsRefused,
    ReleaseRegions,
    UnholdRegions,
    WantRegions,
)
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    ArgumentsLost,
    Outcome,
    PushedTask,
    PushTasks,
    TasksDone,
    TasksReturned,
)
from zgen.wire.value import Fault, FaultKind, Stored, pack

ME = peer("me")
ROOM = 1 << 20
NOWHERE = StreamId(bytes(16))
L = lease("l")
S = task("s")
KILLED = ProcessDown(WORKER, 1, 42, -1, 9, "", lease("none"), 1)


def place(number: int) -> Place:
    return Place(number, 0, ROOM, ROOM, False)


def stored(number: int) -> Stored:
    return Stored(NODE, number, place(number), b"pickle", (9,))


def entry(number: int) -> Entry:
    return pack([stored(number)], [])[0]


def leased(request: int, *numbers: int) -> RegionsLeased:
    return RegionsLeased(request, tuple(LeasedRegion(n, place(n)) for n in numbers))


def held(request: int, *numbers: int) -> RegionsHeld:
    return RegionsHeld(request, tuple(LeasedRegion(n, place(n)) for n in numbers), (), "")


def released(*numbers: int) -> Send:
    return Send(NODE, ReleaseRegions(numbers))


def returned(*numbers: int) -> Send:
    return Send(NODE, ReleaseRegions(numbers, True))


def owner(*specs: str, streams: tuple[str, ...] = (), retries: int = 0) -> ProcessBench:
    """A driver whose tasks and streams are at a worker."""
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    for name in specs:
        bench.step(SubmitTask(spec(name, retries=retries)))
    for name in streams:
        bench.step(SubmitTask(stream_spec(name, retries=retries)))
    if specs or streams:
        bench.say(NODE, GRANT)
        bench.meet("worker")
    return bench


def said(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, Send) and effect.peer == NODE]


def items(stream: str, first: int, *numbers: int, attempt: int = 0) -> ReportItems:
    return ReportItems(task(stream), attempt, first, tuple(entry(n) for n in numbers))


# -- owners --------------------------------------------------------------------------------------
def test_what_is_put_is_written_owned_read_and_released() -> None:
    bench = owner()
    assert bench.step(WantRegion(1, ME, NOWHERE, ROOM)) == [
        Send(NODE, WantRegions(1, ME, NOWHERE, ROOM, 1))
    ]
    given = RegionGiven(1, NODE, 7, place(7))
    assert bench.say(NODE, leased(1, 7)) == [given]
    assert bench.step(PutObject(result("x"), stored(7))) == []
    opened = bench.step(OpenView(2, result("x")))
    assert opened == [ViewOpened(2, stored(7), place(7))]
    assert bench.step(Dropped((result("x"),), ())) == []
    assert bench.step(Dropped((), (), (7,))) == [released(7)]


def test_a_region_without_a_value_goes_back_and_so_does_what_was_leased_ahead() -> None:
    bench = owner()
    bench.step(WantRegion(1, ME, NOWHERE, ROOM))
    bench.say(NODE, leased(1, 7, 8))
    assert bench.step(RegionUnused(7)) == [returned(7)]
    assert bench.advance(REGIONS_AHEAD_NS) == [returned(8)]


def test_a_full_store_is_told_to_who_wants_to_write() -> None:
    bench = owner()
    bench.step(WantRegion(1, ME, NOWHERE, ROOM))
    refused = bench.say(NODE, RegionsRefused(1, REFUSED_FULL, "full", ()))
    assert refused == [RegionRefused(1, REFUSED_FULL, "full", ())]


def test_a_result_in_shared_memory_lives_as_long_as_its_reference() -> None:
    bench = owner("a")
    done = TasksDone((Outcome(task("a"), 0, OUTCOME_VALUE, 5, (entry(7),)),))
    assert said(bench.say(WORKER, done))[1:] == []
    assert bench.step(OpenView(1, result("a"))) == [ViewOpened(1, stored(7), place(7))]
    bench.step(Dropped((), (), (7,)))
    assert bench.step(Dropped((result("a"),), ())) == [released(7)]


def test_results_that_nobody_wants_any_more_are_released() -> None:
    bench = owner("a", "b")
    bench.step(Dropped((result("a"),), ()))
    done = TasksDone((Outcome(task("a"), 0, OUTCOME_VALUE, 5, (entry(7),)),))
    assert released(7) in bench.say(WORKER, done)
    again = TasksDone((Outcome(task("a"), 0, OUTCOME_VALUE, 5, (entry(8),)),))
    assert released(8) in bench.say(WORKER, again), "its task has ended"
    wrong = TasksDone((Outcome(task("b"), 0, OUTCOME_VALUE, 5, (entry(9), entry(10))),))
    assert released(9, 10) in bench.say(WORKER, wrong)
    stranger = TasksDone((Outcome(task("b"), 0, OUTCOME_VALUE, 5, (entry(11),)),))
    bench.meet("other")
    assert released(11) in bench.say(peer("other"), stranger)


def test_a_value_stays_while_a_task_needs_it_as_an_argument() -> None:
    bench = owner()
    bench.step(WantRegion(1, ME, NOWHERE, ROOM))
    bench.say(NODE, leased(1, 7))
    bench.step(PutObject(result("x"), stored(7)))
    bench.step(SubmitTask(spec("a", slots=[result("x")])))
    assert bench.step(Dropped((result("x"),), ())) == []
    bench.say(NODE, GRANT)
    bench.meet("worker")
    done = TasksDone((Outcome(task("a"), 0, OUTCOME_VALUE, 5, (b"v",)),))
    assert released(7) in bench.say(WORKER, done)


def test_items_are_taken_and_what_is_not_taken_goes_with_the_generator() -> None:
    bench = owner(streams=("s",))
    bench.say(WORKER, ReportItems(S, 0, 0, (entry(7), b"small", entry(8), entry(9))))
    (taken,) = those(bench.step(TakeItems(S, 2)), ItemsTaken)
    assert isinstance(taken, ItemsTaken)
    closed = bench.step(Dropped((), (S,)))
    assert closed == [Send(WORKER, CloseStream(S, 0)), released(8, 9)]
    assert bench.say(WORKER, items("s", 4, 10)) == [released(10)]
    assert bench.step(Dropped(taken.objects, ())) == [released(7)]


def test_replayed_stale_and_late_items_are_released() -> None:
    bench = owner(streams=("s",), retries=1)
    bench.say(WORKER, items("s", 0, 7, 8))
    assert released(9) in bench.say(WORKER, items("s", 5, 9)), "not what follows"
    bench.say(WORKER, ReportEnd(S, 0, 2, OUTCOME_RETRY, 5, ((1, b"error", 0),)))
    bench.advance(100_000_000)
    assert bench.say(WORKER, items("s", 0, 10)) == [released(10)], "of the old attempt"
    assert bench.say(WORKER, items("s", 0, 11, attempt=1)) == [released(11)]
    assert released(12) in bench.say(WORKER, items("s", 1, 12, 13, attempt=1))
    bench.say(WORKER, ReportEnd(S, 1, 3, OUTCOME_VALUE, 5, ()))
    assert bench.say(WORKER, items("s", 3, 14, attempt=1)) == [released(14)]


def test_more_items_than_a_stream_may_have_are_released(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = owner(streams=("s",))
    monkeypatch.setattr("zgen.core.stream_in.ITEMS_COUNT_MAX", 1)
    assert bench.say(WORKER, items("s", 0, 7, 8)) == [released(7, 8)]


def test_a_view_of_something_else_is_refused() -> None:
    bench = owner()
    bench.step(PutObject(result("x"), b"small"))
    gone = Fault(FaultKind.OBJECT_LOST, "", "nothing refers to it any more")
    assert bench.step(OpenView(1, result("x"))) == [ValueInstead(1, b"small")]
    assert bench.step(OpenView(2, result("y"))) == [ViewRefused(2, gone)]


# -- room ----------------------------------------------------------------------------------------
def asked_for(bench: ProcessBench, stream: StreamId) -> list[Effect]:
    return bench.say(NODE, AskEvict(ROOM, stream))


def test_a_producer_waits_for_a_consumer_that_has_something_to_take_and_takes_it() -> None:
    bench = owner(streams=("s",))
    assert asked_for(bench, S) == [Send(NODE, Evict((), False))], "there is nothing yet"
    bench.say(WORKER, items("s", 0, 7, 8))
    assert asked_for(bench, S) == [Send(NODE, Evict((), True))]
    assert asked_for(bench, NOWHERE) == [Send(NODE, Evict((8,), False))]
    bench.now_ns += CONSUMER_IDLE_NS - 1
    bench.step(TakeItems(S, 1))
    bench.now_ns += CONSUMER_IDLE_NS - 1
    assert asked_for(bench, S) == [Send(NODE, Evict((), True))]
    bench.now_ns += 1
    assert asked_for(bench, S) == [Send(NODE, Evict((7,), False))], "it takes nothing any more"


def test_a_producer_does_not_wait_for_who_waits_for_its_end() -> None:
    bench = owner(streams=("s",))
    bench.say(WORKER, items("s", 0, 7))
    bench.step(RefCompletion(S))
    assert asked_for(bench, S) == [Send(NODE, Evict((7,), False))]


def test_a_view_of_what_was_given_up_waits_for_the_node() -> None:
    bench = owner(streams=("s",))
    bench.say(WORKER, items("s", 0, 7))
    asked_for(bench, NOWHERE)
    (taken,) = those(bench.step(TakeItems(S, 1)), ItemsTaken)
    assert isinstance(taken, ItemsTaken)
    assert bench.step(OpenView(1, taken.objects[0])) == [Send(NODE, HoldRegions(1, (7,), (ROOM,)))]
    assert bench.say(NODE, held(1, 7)) == [ViewOpened(1, stored(7), place(7))]


# -- deaths --------------------------------------------------------------------------------------
def test_orphans_of_a_writer_are_released_when_its_last_report_is_known() -> None:
    bench = owner(streams=("s",))
    bench.say(WORKER, items("s", 0, 7))
    bench.say(NODE, RegionsOrphaned(WORKER, (7, 8, 9)), KILLED)
    assert bench.say(WORKER, items("s", 1, 8)) != []
    bench.say(NODE, RegionsOrphaned(WORKER, (10,)))
    assert returned(9, 10) in bench.quiet()
    assert bench.say(NODE, RegionsOrphaned(WORKER, (11,))) == [returned(11)]


def test_words_of_shared_memory_by_others_than_the_node_are_refused() -> None:
    bench = owner(streams=("s",))
    assert bench.say(WORKER, AskEvict(ROOM, S)) == []
    assert bench.counts == {"word of shared memory by a stranger": 1}


def test_nothing_is_written_without_a_node_and_what_is_held_can_be_read() -> None:
    bench = owner()
    bench.step(WantRegion(1, ME, NOWHERE, ROOM))
    bench.say(NODE, leased(1, 7))
    bench.step(PutObject(result("x"), stored(7)))
    bench.step(WantRegion(2, ME, NOWHERE, ROOM))
    refused = RegionRefused(2, REFUSED_FULL, "the node is gone", ())
    assert refused in bench.goodbye(NODE)
    assert bench.step(OpenView(3, result("x"))) == [ViewOpened(3, stored(7), place(7))]
    assert bench.step(Dropped((result("x"),), (), (7,))) == []


# -- writers and readers -------------------------------------------------------------------------
def reading(name: str, *numbers: int, returns: int = 1) -> PushedTask:
    slots = (*[entry(number) for number in numbers], b"small")
    return PushedTask(task(name), 0, FUNCTION, name, returns, b"args", slots, b"")


def started(bench_effects: list[Effect]) -> StartTask:
    (start,) = those(bench_effects, StartTask)
    assert isinstance(start, StartTask)
    return start


def test_a_task_starts_when_its_arguments_are_held_and_lets_go_with_the_last_view() -> None:
    bench = worker_bench()
    push = PushTasks(L, 0, (reading("a", 7), reading("b", 7), pushed("c")))
    assert bench.say(DRIVER, push) == [Send(NODE, HoldRegions(1, (7,), (ROOM,)))]
    start = started(bench.say(NODE, held(1, 7)))
    assert (start.owner, start.slots) == (DRIVER, (stored(7), b"small"))
    start = started(bench.step(TaskEnded(task("a"), 0, OUTCOME_VALUE, (b"v",))))
    assert start.slots == (stored(7), b"small")
    bench.step(TaskEnded(task("b"), 0, OUTCOME_VALUE, (b"v",)))
    assert bench.step(Dropped((), (), (7,))) == [], "the other view is still there"
    assert bench.step(Dropped((), (), (7,))) == [Send(NODE, UnholdRegions((7,)))]


def test_a_task_that_waits_for_its_arguments_does_not_stand_behind_a_long_one() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (pushed("a"), reading("b", 7))))
    bench.say(NODE, held(1, 7))
    assert Send(NODE, UnholdRegions((7,))) in bench.step(BodyBlocked(True))


def test_what_a_dead_owner_pushed_holds_nothing() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (reading("a", 7),)))
    bench.say(NODE, RegionsHeld(1, (), (7,), "full", True))
    bench.say(DRIVER, PushTasks(L, 1, (reading("b", 9),)))
    assert said(bench.goodbye(DRIVER)) == [], "its hold is asked for: the answer comes first"
    assert bench.say(NODE, held(2, 9)) == [Send(NODE, UnholdRegions((9,)))]


def test_an_argument_for_which_there_is_no_room_is_a_fault_that_the_body_meets() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (reading("a", 7),)))
    start = started(bench.say(NODE, RegionsHeld(1, (), (7,), "full", True)))
    assert start.slots == (Fault(FaultKind.STORE_FULL, "", "full"), b"small")


def test_a_task_whose_argument_is_gone_goes_back_with_what_is_queued_behind_it() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (reading("a", 7), pushed("b"))))
    assert bench.say(NODE, RegionsHeld(1, (), (7,), "gone")) == [
        Send(DRIVER, ArgumentsLost(L, task("a"), 0, ((0, 7),), "gone")),
        Send(DRIVER, TasksReturned(L, ((task("b"), 0),))),
    ]
    back = bench.say(DRIVER, PushTasks(L, 2, (pushed("c"),)))
    assert back == [Send(DRIVER, TasksReturned(L, ((task("c"), 0),)))], "from before that"
    started(bench.say(DRIVER, PushTasks(L, 3, (pushed("d"),), 2)))


def test_yields_and_results_name_the_regions_that_they_were_written_into() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (reading("s", returns=STREAMING), pushed("a"))))
    asked = bench.step(WantRegion(1, DRIVER, S, ROOM))
    assert asked == [Send(NODE, WantRegions(1, DRIVER, S, ROOM, 1))]
    bench.say(NODE, leased(1, 7, 8))
    assert Send(DRIVER, items("s", 0, 7), None) in [
        Send(each.peer, each.message, None)
        for each in bench.step(Yielded(S, 0, stored(7)))
        if isinstance(each, Send)
    ]
    bench.step(TaskEnded(S, 0, OUTCOME_VALUE, ()))
    bench.step(WantRegion(2, DRIVER, NOWHERE, ROOM))
    bench.step(TaskEnded(task("a"), 0, OUTCOME_VALUE, (stored(8),)))
    assert bench.process.store.stock.writing == {}


def test_items_of_a_closed_stream_go_back_from_where_they_are() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (reading("s", returns=STREAMING),)))
    bench.step(WantRegion(1, DRIVER, S, ROOM))
    bench.say(NODE, leased(1, 7, 8, 9))
    bench.step(Yielded(S, 0, stored(7)))
    bench.step(WantRegion(2, DRIVER, S, ROOM))
    bench.step(Yielded(S, 0, stored(8)))
    assert returned(8) in bench.say(DRIVER, CloseStream(S, 0)), "it waited on the busy line"
    bench.step(WantRegion(3, DRIVER, S, ROOM))
    assert returned(9) in bench.step(Yielded(S, 0, stored(9)))


def test_what_is_written_for_an_owner_that_dies_goes_back() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (reading("s", returns=STREAMING),)))
    bench.step(WantRegion(1, DRIVER, S, ROOM))
    bench.say(NODE, leased(1, 7, 8))
    bench.say(NODE, RegionsOrphaned(DRIVER, (7, 8)))
    assert returned(8) in bench.goodbye(DRIVER)
    refused = RegionRefused(2, REFUSED_FULL, "the owner of the value is dead", ())
    assert bench.step(WantRegion(2, DRIVER, S, ROOM)) == [refused]
    bench.say(NODE, RegionsOrphaned(DRIVER, (7,)))
    assert returned(7) in bench.step(Yielded(S, 0, stored(7)))


def test_results_that_wait_for_a_dead_owner_go_back() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (pushed("a"), pushed("b"), pushed("c"))))
    bench.step(WantRegion(1, DRIVER, NOWHERE, ROOM))
    bench.say(NODE, leased(1, 7))
    bench.step(TaskEnded(task("a"), 0, OUTCOME_VALUE, (b"v",)))
    bench.step(TaskEnded(task("b"), 0, OUTCOME_VALUE, (stored(7),)))
    assert returned(7) in bench.goodbye(DRIVER)


def test_a_worker_whose_node_is_gone_wants_nothing() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (reading("a", 7),)))
    assert those(bench.goodbye(NODE), ViewOpened) == []
    assert bench.process.store.stock.node is None
