"""One worker: starts, reports, holds, hands back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.names import FUNCTION, ME, NODE, PAYLOAD, lease, peer, pushed, task
from zgen.core.actor_events import ExitActor
from zgen.core.borrowing import Borrowing
from zgen.core.cancel_words import KillSelf, StopBody
from zgen.core.deadlines import earliest
from zgen.core.effects import (
    Effect,
    HoldBody,
    LearnFunction,
    ReleaseBody,
    Send,
    StartTask,
)
from zgen.core.events import BodyBlocked, TaskEnded
from zgen.core.executor import Executor
from zgen.core.ref_table import RefTable
from zgen.core.store_client import StoreClient
from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId
from zgen.limits import ITEM_BYTES_UNACKED_MAX, LINE_TICK_NS, TASK_LONG_NS
from zgen.wire.lease import WorkerBlocked
from zgen.wire.schema import Buffers
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_ERROR,
    OUTCOME_VALUE,
    STREAMING,
    DefineFunction,
    Outcome,
    PushedTask,
    PushTasks,
    TasksDone,
    TasksReturned,
)
from zgen.wire.value import Parcel, Value

L = lease("l")
OTHER = peer("other")
S = task("s")


class Worker:
    """An executor and the time; every step is followed by ``check()``."""

    def __init__(self) -> None:
        store = StoreClient()
        self.refs = RefTable(store.dropped)
        self.executor = Executor(store, Borrowing(peer("worker"), self.refs))
        self.executor.node = NODE
        self.now_ns = 1_000_000_000

    def hear(self, message: Any, sender: PeerId = ME) -> list[Effect]:
        assert type(message) in self.executor.handlers
        out: list[Effect] = []
        try:
            self.executor.handlers[type(message)](sender, message, self.now_ns, out)
        finally:
            self.executor.check()
        return out

    def push(self, *tasks: PushedTask, first: int = 0, seen: int = 0) -> list[Effect]:
        return self.hear(PushTasks(L, first, tasks, seen))

    def ended(self, name: str, *values: Value, outcome: int = OUTCOME_VALUE) -> list[Effect]:
        out: list[Effect] = []
        self.executor.on_task_ended(TaskEnded(task(name), 0, outcome, values), self.now_ns, out)
        self.executor.check()
        return out

    def yields(self, name: str, value: Value) -> list[Effect]:
        out: list[Effect] = []
        self.executor.reports.add_item(task(name), 0, value, self.now_ns, out)
        self.executor.check()
        return out

    def blocked(self, blocked: bool = True) -> list[Effect]:
        out: list[Effect] = []
        self.executor.on_body_blocked(BodyBlocked(blocked), self.now_ns, out)
        self.executor.check()
        return out

    def timer(self, after_ns: int) -> list[Effect]:
        self.now_ns += after_ns
        out: list[Effect] = []
        self.executor.on_timer(self.now_ns, out)
        self.executor.check()
        return out

    def owner_down(self, owner: PeerId = ME, *, died: bool = True) -> list[Effect]:
        out: list[Effect] = []
        self.executor.on_owner_down(owner, died, self.now_ns, out)
        self.executor.check()
        return out

    def due(self) -> int | None:
        return earliest(self.executor.all_deadlines)


def start(name: str, push: int = 0, returns: int = 1) -> StartTask:
    return StartTask(pushed(name, returns=returns), ME, b"args", (), L, push)


def done(name: str, *entries: bytes, run_ns: int = 0, outcome: int = OUTCOME_VALUE) -> Send:
    return Send(ME, TasksDone((Outcome(task(name), 0, outcome, run_ns, entries),)))


def returned(*names: str) -> Send:
    return Send(ME, TasksReturned(L, tuple((task(name), 0) for name in names)))


# -- running -------------------------------------------------------------------------------------
def test_tasks_run_one_after_another_in_the_order_of_their_pushes() -> None:
    worker = Worker()
    assert worker.push(pushed("a"), pushed("b"), first=4) == [start("a", 4)]
    assert worker.push(pushed("c"), first=6) == []
    worker.now_ns += 7
    assert worker.ended("a", b"value") == [done("a", b"value", run_ns=7), start("b", 5)]
    assert worker.ended("b", b"value") == [start("c", 6)]
    both = TasksDone(tuple([Outcome(task(n), 0, OUTCOME_VALUE, 0, (b"value",)) for n in "bc"]))
    assert worker.ended("c", b"value") == [Send(ME, both)], "nothing runs behind it"
    assert worker.executor.admission.running is None


def test_arguments_and_slots_take_the_buffers_in_their_order() -> None:
    worker = Worker()
    one = PushedTask(task("a"), 0, FUNCTION, "a", 1, (0, b"args", 1), ((0, b"slot", 1), b"s"), b"")
    two = PushedTask(task("b"), 0, FUNCTION, "b", 1, (2, b"", 1), (), b"")
    out = worker.hear(PushTasks(L, 0, (one, two), 0, buffers=Buffers((b"1", b"2", b"3"))))
    slots = (Parcel(b"slot", (b"2",)), b"s")
    assert out == [StartTask(one, ME, Parcel(b"args", (b"1",)), slots, L, 0)]
    assert worker.ended("a")[-1] == StartTask(two, ME, b"3", (), L, 1)


def test_a_push_whose_buffers_are_missing_starts_nothing() -> None:
    worker = Worker()
    bad = PushedTask(task("b"), 0, FUNCTION, "b", 1, (0, b"args", 1), (), b"")
    with pytest.raises(RemoteProtocolError):
        worker.push(pushed("a"), bad)
    assert worker.executor.admission.running is None
    assert worker.push(pushed("c")) == [start("c")]


def test_an_empty_push_changes_nothing() -> None:
    assert Worker().push() == []


def test_a_function_is_learnt() -> None:
    assert Worker().hear(DefineFunction(FUNCTION, PAYLOAD)) == [LearnFunction(FUNCTION, PAYLOAD)]


def test_the_end_of_what_does_not_run_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="does not run"):
        Worker().ended("a")


def test_messages_for_others_are_not_handled() -> None:
    assert TasksDone not in Worker().executor.handlers


# -- streams -------------------------------------------------------------------------------------
def test_a_generator_reports_its_items_and_its_end() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING), pushed("b"))
    items = ReportItems(task("s"), 0, 0, (b"a",))
    assert worker.yields("s", b"a") == [Send(ME, items, None, 1)]
    end = ReportEnd(task("s"), 0, 1, OUTCOME_VALUE, 0, ())
    assert worker.ended("s") == [Send(ME, end), start("b", 1)]


def test_a_generator_that_raised_reports_its_error_with_the_end() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING))
    end = ReportEnd(task("s"), 0, 0, OUTCOME_ERROR, 0, ((1, b"error", 0),))
    assert worker.ended("s", Parcel(b"error", (), True), outcome=OUTCOME_ERROR) == [Send(ME, end)]


def test_a_stream_that_was_closed_while_it_waited_reports_its_end_alone() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("s", returns=STREAMING), pushed("t", returns=STREAMING))
    worker.hear(CloseStream(task("s"), 0))
    worker.ended("a", b"value")
    worker.yields("s", b"item")
    assert worker.ended("s") == [
        Send(ME, ReportEnd(task("s"), 0, 1, OUTCOME_VALUE, 0, ())),
        start("t", 2, returns=STREAMING),
    ]
    assert worker.yields("t", b"read") + worker.timer(LINE_TICK_NS) == [
        Send(ME, ReportItems(task("t"), 0, 0, (b"read",)), None, 4)
    ]


def test_only_its_owner_closes_a_stream() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING))
    worker.hear(CloseStream(task("unknown"), 0))
    worker.hear(CloseStream(task("s"), 0), OTHER)
    assert len(worker.yields("s", b"a")) == 1
    worker.hear(CloseStream(task("s"), 0))
    worker.now_ns += LINE_TICK_NS
    assert worker.yields("s", b"b") == []


# -- holding -------------------------------------------------------------------------------------
def sent(worker: Worker, unacked_bytes: int) -> list[Effect]:
    out: list[Effect] = []
    worker.executor.on_items_sent(S, ME, unacked_bytes, out)
    return out


def acked(worker: Worker, unacked_bytes: int) -> list[Effect]:
    out: list[Effect] = []
    worker.executor.on_acked(ME, unacked_bytes, out)
    return out


def test_the_body_is_held_while_too_many_bytes_are_on_their_way() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING))
    assert sent(worker, ITEM_BYTES_UNACKED_MAX - 1) == []
    assert sent(worker, ITEM_BYTES_UNACKED_MAX) == [HoldBody(S)]
    assert sent(worker, ITEM_BYTES_UNACKED_MAX) == [], "it is held already"
    assert acked(worker, ITEM_BYTES_UNACKED_MAX) == []
    assert acked(worker, ITEM_BYTES_UNACKED_MAX - 1) == [ReleaseBody(S)]
    assert acked(worker, 0) == []


def test_the_next_task_is_not_held_for_the_last_one() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING), pushed("t", returns=STREAMING))
    sent(worker, ITEM_BYTES_UNACKED_MAX)
    worker.ended("s")
    assert not worker.executor.holds.bodies


def test_what_waits_for_company_leaves_before_a_task_ends_its_process() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("s", returns=STREAMING))
    worker.ended("a", b"value")
    assert worker.yields("s", b"0") == [], "the line is busy"
    out: list[Effect] = []
    worker.executor.on_exit_actor(ExitActor(is_crash=True), worker.now_ns, out)
    assert [type(effect.message) for effect in out if type(effect) is Send] == [ReportItems]


# -- handing back --------------------------------------------------------------------------------
def test_a_task_that_blocks_gives_its_resources_and_its_queue_away() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("b"), pushed("c"))
    blocked = Send(NODE, WorkerBlocked(L, True))
    assert worker.blocked() == [blocked, returned("b", "c")]
    assert worker.blocked() == []
    assert worker.push(pushed("d"), first=3, seen=1) == [returned("d")]
    assert worker.blocked(False) == [Send(NODE, WorkerBlocked(L, False))]
    assert worker.push(pushed("e"), first=4, seen=2) == []
    assert worker.ended("a")[-1] == start("e", 4)


def test_nobody_is_told_of_a_wait_outside_a_task_or_without_a_node() -> None:
    worker = Worker()
    assert worker.blocked() == []
    worker.push(pushed("a"))
    worker.executor.node = None
    assert worker.blocked() == []


def test_what_waits_behind_a_long_task_is_handed_back() -> None:
    worker = Worker()
    worker.push(pushed("a"))
    worker.now_ns += 7
    worker.push(pushed("b"), first=1)
    assert worker.due() == worker.now_ns - 7 + TASK_LONG_NS
    assert worker.timer(TASK_LONG_NS - 7) == [returned("b")]
    assert worker.due() is None
    assert worker.push(pushed("c"), first=2, seen=1) == [returned("c")]
    worker.ended("a")
    assert worker.push(pushed("d"), first=3, seen=2) == [start("d", 3)]


def test_each_task_has_its_own_time_to_become_long() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("b"), pushed("c"))
    worker.now_ns += TASK_LONG_NS - 1
    worker.ended("a")
    assert worker.due() == worker.now_ns + TASK_LONG_NS
    worker.now_ns += 1
    worker.ended("b")
    assert worker.due() is not None
    assert returned("c") not in worker.timer(TASK_LONG_NS)


def test_a_push_from_before_a_hand_back_is_handed_back_whole() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("b"))
    worker.blocked()
    worker.blocked(False)
    assert worker.push(pushed("c"), pushed("d"), first=2, seen=0) == [returned("c", "d")]
    assert worker.push(pushed("e"), first=4, seen=1) == [returned("e")]
    worker.ended("a")
    assert worker.push(pushed("f"), first=5, seen=3) == [start("f", 5)]


# -- dead owners ---------------------------------------------------------------------------------
def test_what_a_dead_owner_pushed_is_neither_started_nor_reported() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING), pushed("b"))
    sent(worker, ITEM_BYTES_UNACKED_MAX)
    worker.yields("s", b"a")
    worker.yields("s", b"b")
    assert worker.owner_down(died=False) == [ReleaseBody(S)]
    assert worker.yields("s", b"c") == []
    assert [type(effect) for effect in worker.ended("s")] == [Send], "nothing starts"
    assert worker.executor.admission.running is None


def test_a_generator_stops_at_its_yield_when_its_owner_died_and_so_ends_its_process() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING), pushed("b"))
    sent(worker, ITEM_BYTES_UNACKED_MAX)
    worker.yields("s", b"a")
    assert worker.owner_down() == [StopBody(S, 0), ReleaseBody(S)]
    assert worker.yields("s", b"c") == []
    assert worker.ended("s") == [KillSelf()]


def test_what_is_no_generator_ends_at_once_when_its_owner_died() -> None:
    worker = Worker()
    worker.push(pushed("a"))
    assert worker.owner_down() == [KillSelf()]


def test_a_worker_that_runs_nothing_of_who_died_goes_on() -> None:
    worker = Worker()
    worker.push(pushed("a"))
    worker.ended("a")
    assert worker.owner_down() == []


def test_the_death_of_another_owner_changes_nothing() -> None:
    worker = Worker()
    worker.push(pushed("s", returns=STREAMING), pushed("b"))
    assert worker.owner_down(OTHER) == []
    assert worker.executor.reports.streams[S].owner == ME
    assert worker.ended("s")[-1] == start("b", 1)


def test_check_finds_a_queue_that_nobody_watches() -> None:
    worker = Worker()
    worker.push(pushed("a"), pushed("b"))
    worker.executor.deadlines.clear("the running task has become a long one")
    with pytest.raises(AssertionError, match="nobody looks"):
        worker.executor.check()
