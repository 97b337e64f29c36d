"""Lost objects are made again by their tasks, once, and what cannot be says why."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.names import NODE, OTHER_WORKER, WORKER, result, spec, task, those
from tests.unit.core.rebuild_bench import (
    FARTHER,
    FRIEND,
    LEASE,
    RebuildBench,
    again,
    entries,
    far,
    messages,
    opened,
    pushed_in,
    told,
)
from zgen.core import lineage, recovery
from zgen.core.cancel_words import CancelRequested
from zgen.core.effects import ObjectsReady, Send
from zgen.core.events import WantValues
from zgen.core.object_holds import LINEAGE, pins_of
from zgen.core.store_effects import ValueInstead, ViewRefused
from zgen.core.task_table import Doing
from zgen.ids import PUT_INDEX_FIRST, object_id
from zgen.limits import MS
from zgen.wire.lease import ProcessDown
from zgen.wire.object import AddBorrowers, ObjectIs, ObjectsGone, ObjectsLost, ReturnBorrows
from zgen.wire.session import Address
from zgen.wire.store import NODE_GONE
from zgen.wire.task import OUTCOME_ERROR, ArgumentsLost, Outcome, TasksDone, TasksReturned
from zgen.wire.value import (
    GONE,
    NONE,
    REASON_CANCELLED,
    REASON_EVICTED,
    REASON_NO_RETRIES,
    REASON_PUT,
    REASON_SPENT,
    Fault,
    FaultKind,
    NestedRef,
    Parcel,
)

A, B, C = result("a"), result("b"), result("c")
PUT = object_id(task("root"), PUT_INDEX_FIRST)


def why(effects: list[Any]) -> list[str]:
    """Return why those who want to read hear that something is not made again."""
    faults = [each.value for each in effects if isinstance(each, ValueInstead)]
    assert all(isinstance(fault, Fault) for fault in faults)
    return [fault.why for fault in faults if isinstance(fault, Fault)]


def with_result(retries: int = 3) -> RebuildBench:
    bench = RebuildBench()
    bench.made(spec("a", retries=retries), far(1))
    return bench


# -- one result ------------------------------------------------------------------------------------
def test_a_lost_result_is_made_again_once_however_many_want_it() -> None:
    bench = with_result()
    bench.open(A)
    bench.open(A)
    lost = bench.not_held(far(1))
    assert again(lost) == [("a", 1, (0,))]
    assert opened(lost) == []
    assert bench.value(A) is None
    assert bench.open(A) == [], "who comes later waits too"
    ready = bench.ended("a", far(2, FARTHER), attempt=1)
    assert those(ready, ObjectsReady) == [ObjectsReady((A,))]
    shown = opened(bench.held(far(2, FARTHER)))
    assert [(each.request, each.value) for each in shown] == [
        (number, far(2, FARTHER)) for number in (1, 2, 3)
    ]
    bench.drop(A)
    bench.drop_views(far(2, FARTHER), 3)
    assert bench.is_empty()


def test_what_comes_instead_may_be_small_or_an_error() -> None:
    bench = with_result()
    bench.lose(A, far(1))
    assert opened(bench.ended("a", b"small", attempt=1)) == [ValueInstead(1, b"small")]
    bench = with_result()
    bench.lose(A, far(1))
    error = Parcel(b"error", (), True)
    done = bench.ended("a", error, attempt=1, kind=OUTCOME_ERROR)
    assert opened(done) == [ValueInstead(1, error)]
    assert opened(bench.open(A)) == [ValueInstead(2, error)]
    bench.drop(A)
    assert bench.is_empty()


def test_results_that_are_there_stay_as_they_are() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 3, retries=1), far(1), b"small", far(2, FARTHER))
    assert again(bench.lose(A, far(1))) == [("a", 1, (0,))]
    bench.ended("a", far(3, FARTHER), NONE, NONE, attempt=1)
    assert bench.value(A) == far(3, FARTHER)
    assert bench.value(result("a", 1)) == b"small"
    assert bench.value(result("a", 2)) == far(2, FARTHER)


def test_all_that_lay_on_a_node_that_is_gone_comes_with_one_run() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=1), far(1), far(2))
    assert again(bench.lose(A, far(1))) == [("a", 1, (0, 1))]
    assert bench.value(result("a", 1)) is None


def test_what_can_be_read_here_is_not_lost_with_its_node() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=1), far(1), far(2))
    bench.open(result("a", 1))
    bench.held(far(2))
    assert again(bench.lose(A, far(1))) == [("a", 1, (0,))]


def test_a_region_may_be_lost_without_its_node() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=1), far(1), far(2))
    assert again(bench.lose(A, far(1), "it cannot be read from disk")) == [("a", 1, (0,))]
    assert again(bench.lose(result("a", 1), far(2))) == []
    more = bench.ended("a", far(3, FARTHER), NONE, attempt=1)
    assert why(more) == [REASON_SPENT], "what is found lost meanwhile needs a run of its own"


def test_what_is_found_lost_meanwhile_has_a_run_of_its_own() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=2), far(1), far(2))
    bench.lose(A, far(1), "it cannot be read from disk")
    bench.lose(result("a", 1), far(2))
    assert again(bench.ended("a", far(3, FARTHER), NONE, attempt=1)) == [("a", 2, (1,))]
    bench.ended("a", NONE, far(4, FARTHER), attempt=2)
    assert bench.value(result("a", 1)) == far(4, FARTHER)


def test_a_view_that_is_asked_for_while_the_object_goes_is_refused() -> None:
    bench = with_result()
    bench.open(A)
    bench.drop(A)
    assert [each.value.kind for each in opened(bench.not_held(far(1)))] == [FaultKind.OBJECT_LOST]
    assert those(bench.open(A), ViewRefused) != []
    assert bench.is_empty()


# -- what is not made again ------------------------------------------------------------------------
def test_what_cannot_be_made_again_says_why_and_stays() -> None:
    bench = with_result(retries=0)
    assert why(bench.lose(A, far(1))) == [REASON_NO_RETRIES]
    assert bench.value(A) == far(1)
    bench.put(PUT, far(2))
    assert why(bench.lose(PUT, far(2))) == [REASON_PUT]
    bench.drop(A, PUT)
    assert bench.is_empty()


def test_runs_for_lost_results_count_as_retries() -> None:
    bench = with_result(retries=1)
    bench.lose(A, far(1))
    bench.ended("a", far(2), attempt=1)
    assert why(bench.not_held(far(2))) == [REASON_SPENT]


def test_a_run_that_fails_fails_what_was_lost() -> None:
    bench = with_result(retries=1)
    bench.lose(A, far(1))
    bench.say(NODE, ProcessDown(WORKER, 1, 42, -1, 9, "", LEASE, 2))
    failed = bench.quiet()
    assert [each.value.kind for each in opened(failed)] == [FaultKind.WORKER_CRASHED]
    bench.drop(A)
    assert bench.is_empty()


def test_a_run_that_is_cancelled_is_the_last_one() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=3), far(1), far(2, FARTHER))
    bench.submit(spec("b"))
    bench.lose(A, far(1))
    done = bench.step(CancelRequested(task("a"), False, False))
    assert [each.value.kind for each in opened(done)] == [FaultKind.CANCELLED]
    assert why(bench.lose(result("a", 1), far(2, FARTHER))) == [REASON_CANCELLED]


def test_what_was_killed_by_force_was_cancelled_as_its_lost_results_say() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=3), far(1), far(2, FARTHER))
    bench.lose(A, far(1))
    bench.step(CancelRequested(task("a"), True, False))
    bench.say(NODE, ProcessDown(WORKER, 1, 42, -1, 9, "", LEASE, 2))
    bench.quiet()
    assert why(bench.lose(result("a", 1), far(2, FARTHER))) == [REASON_CANCELLED]


def test_a_result_of_a_task_that_was_cancelled_too_late_is_not_made_again() -> None:
    bench = RebuildBench()
    bench.submit(spec("a", retries=3))
    bench.step(CancelRequested(task("a"), False, False))
    bench.ended("a", far(1))
    assert why(bench.lose(A, far(1))) == [REASON_CANCELLED]
    assert bench.value(A) == far(1)


def test_the_eldest_is_forgotten_where_too_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "LINEAGE_COUNT_MAX", 2)
    bench = with_result()
    bench.made(spec("b", slots=[A], retries=3), far(2))
    bench.made(spec("c", slots=[B], retries=3), far(3))
    assert bench.owner.pins.lineage.count == 1
    assert why(bench.lose(A, far(1))) == [REASON_EVICTED]
    bench.drop(A, B)
    assert again(bench.lose(C, far(3))) == []
    value = bench.value(C)
    assert isinstance(value, Fault)
    assert isinstance(value.cause, Fault)
    assert value.cause.why == REASON_EVICTED


def test_what_runs_again_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = with_result()
    bench.lose(A, far(1))
    monkeypatch.setattr(lineage, "LINEAGE_BYTES_MAX", 1)
    bench.made(spec("b", retries=3), far(2, FARTHER))
    assert bench.owner.pins.lineage.entries[task("a")].why == ""
    bench.ended("a", far(3, FARTHER), attempt=1)
    assert bench.owner.pins.lineage.entries[task("a")].why == REASON_EVICTED


def test_after_the_node_nothing_is_made_again() -> None:
    bench = with_result()
    bench.say(FRIEND, AddBorrowers(Address(FRIEND, 1, "ipc://friend"), (A,)))
    bench.goodbye(NODE)
    said = told(bench.say(FRIEND, ObjectsLost(((A, far(1).region),), "gone")), A)
    assert [fault.kind for each in said for fault in each.faults] == ["node died"]


# -- arguments -------------------------------------------------------------------------------------
def chain(retries: int = 3) -> RebuildBench:
    """``a`` takes a small result, ``b`` takes ``a`` and a put; only ``b`` is referred to."""
    bench = RebuildBench()
    bench.made(spec("small", retries=3), b"small")
    bench.put(PUT, b"put")
    bench.made(spec("a", slots=[result("small")], retries=retries), far(1))
    bench.made(spec("b", slots=[A, PUT, A], retries=3), far(2))
    bench.drop(A, PUT, result("small"))
    return bench


def test_a_chain_keeps_what_nothing_can_make_again_and_lets_the_rest_go() -> None:
    bench = chain()
    assert set(bench.owner.refs.records) == {B, PUT, result("small")}
    assert pins_of(bench.owner, None)[PUT] == {(LINEAGE, f"b() {task('b')[:4].hex()}"): 1}
    bench.drop(B)
    assert bench.is_empty()


def test_an_argument_whose_value_went_is_made_again_first() -> None:
    bench = chain()
    assert again(bench.lose(B, far(2))) == [("a", 1, (0,))]
    made = bench.ended("a", far(3, FARTHER), attempt=1)
    assert again(made) == [("b", 1, (0,))]
    (push,) = pushed_in(made)
    assert len(push.slots) == 3
    bench.ended("b", far(4, FARTHER), attempt=1)
    assert set(bench.owner.refs.records) == {B, PUT, result("small")}
    assert bench.value(B) == far(4, FARTHER)
    bench.drop(B)
    assert bench.process.store.waiting == {}


def test_an_argument_on_a_node_that_is_known_to_be_gone_is_not_tried() -> None:
    bench = RebuildBench()
    bench.made(spec("a", retries=3), far(1))
    bench.made(spec("b", slots=[A], retries=3), far(2))
    assert again(bench.lose(B, far(2))) == [("a", 1, (0,))]
    assert bench.value(A) is None


def test_an_argument_that_may_not_be_made_again_fails_what_takes_it() -> None:
    bench = RebuildBench()
    bench.made(spec("a", retries=0), far(1))
    bench.made(spec("b", slots=[A], retries=3), far(2))
    bench.drop(A)
    assert list(bench.owner.refs.records) == [A, B], "it is pinned: nothing makes it again"
    pushed = bench.lose(B, far(2))
    assert again(pushed) == [("b", 1, (0,))]
    lost = ArgumentsLost(LEASE, task("b"), 1, ((0, far(1).region),), "gone")
    done = bench.say(WORKER, lost)
    (answer,) = opened(done)
    assert answer.value.kind is FaultKind.ARGUMENT
    assert answer.value.cause.why == REASON_NO_RETRIES


def test_what_an_argument_refers_to_is_made_again_too() -> None:
    bench = RebuildBench()
    bench.made(spec("a", retries=3), far(1))
    nested = Parcel(b"args", (), False, (NestedRef(A, bench.process.session.identity.address),))
    bench.made(spec("b", retries=3, arguments=nested), far(2))
    bench.drop(A)
    bench.say(WORKER, ReturnBorrows(((A, 1),)))
    assert list(bench.owner.refs.records) == [B]
    assert again(bench.lose(B, far(2))) == [("b", 1, (0,))], "it may never look at it"
    assert bench.owner.tasks.entries[task("a")].attempt == 1


def test_two_that_take_one_lost_result_share_its_run() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=3), far(1), far(2))
    bench.made(spec("b", slots=[A], retries=3), far(3))
    bench.made(spec("c", slots=[result("a", 1), A], retries=3), far(4))
    bench.drop(A, result("a", 1))
    assert again(bench.lose(B, far(3))) == [("a", 1, (0,))]
    assert again(bench.lose(C, far(4))) == []
    assert again(bench.ended("a", far(5, FARTHER), NONE, attempt=1)) == [
        ("b", 1, (0,)),
        ("a", 2, (1,)),
    ]


def test_two_results_of_one_task_are_made_again_by_one_run() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=3), far(1), far(2))
    bench.made(spec("b", slots=[A, result("a", 1)], retries=3), far(3))
    bench.drop(A, result("a", 1))
    assert again(bench.lose(B, far(3))) == [("a", 1, (0, 1))]


def test_what_a_waiting_run_can_still_be_asked_for_it_is_asked_for() -> None:
    bench = RebuildBench()
    bench.made(spec("top", retries=3), far(9))
    bench.made(spec("a", 2, slots=[result("top")], retries=3), far(1), far(2))
    bench.made(spec("b", slots=[A], retries=3), far(3))
    bench.made(spec("c", slots=[result("a", 1)], retries=3), far(4))
    bench.drop(A, result("a", 1), result("top"))
    assert again(bench.lose(B, far(3))) == [("top", 1, (0,))]
    assert again(bench.lose(C, far(4))) == []
    assert again(bench.ended("top", b"small", attempt=1)) == [("a", 1, (0, 1))]


# -- what workers say ------------------------------------------------------------------------------
def with_reader() -> RebuildBench:
    bench = with_result()
    bench.submit(spec("b", slots=[A], retries=0))
    return bench


def arguments_lost(attempt: int = 0, region: int | None = None, position: int = 0) -> ArgumentsLost:
    where = far(1).region if region is None else region
    return ArgumentsLost(LEASE, task("b"), attempt, ((position, where),), "gone")


def test_a_task_waits_for_the_argument_that_its_worker_cannot_read() -> None:
    bench = with_reader()
    assert again(bench.say(WORKER, arguments_lost())) == [("a", 1, (0,))]
    assert bench.owner.tasks.entries[task("b")].doing.state is Doing.WAITING_ARGS
    assert again(bench.ended("a", far(2, FARTHER), attempt=1)) == [("b", 0, ())]


def test_an_argument_that_is_there_again_is_sent_at_once() -> None:
    bench = with_reader()
    done = bench.say(WORKER, arguments_lost(region=7), TasksReturned(LEASE, ()))
    assert again(done) == [("b", 0, ())]


def test_a_cancelled_task_does_not_wait_for_its_argument() -> None:
    bench = with_reader()
    bench.step(CancelRequested(task("b"), False, False))
    assert again(bench.say(WORKER, arguments_lost())) == []
    assert isinstance(bench.value(B), Fault)


def test_what_workers_say_of_arguments_is_checked() -> None:
    bench = with_reader()
    bench.meet("other worker")
    assert bench.say(OTHER_WORKER, arguments_lost()) == []
    assert bench.say(WORKER, arguments_lost(position=1)) == []
    assert bench.say(WORKER, arguments_lost(position=-2)) == []
    assert bench.say(WORKER, arguments_lost(attempt=1)) == []
    assert bench.value(A) == far(1)
    counts = bench.process.session.counts
    assert counts["arguments lost that the worker was not given"] == 3


def test_a_task_is_pushed_though_its_argument_was_lost_and_comes_back_for_it() -> None:
    bench = with_result()
    bench.submit(spec("c"))
    bench.submit(spec("b", slots=[A]))
    bench.owner.placement.leases.pools[spec("b").shape].depth = 1
    state = bench.owner.tasks.entries[task("b")].doing.state
    assert state is Doing.WAITING_LEASE
    bench.lose(A, far(1))
    pushes = pushed_in(bench.ended("c", b"x"))
    gone = [each for each in pushes if each.name == "b"]
    assert gone[0].slots == entries(GONE), "it stood before the run for its argument"
    bench.say(WORKER, arguments_lost(region=0))
    assert bench.owner.tasks.entries[task("b")].doing.state is Doing.WAITING_ARGS


# -- borrowers -------------------------------------------------------------------------------------
def test_a_borrower_is_told_again_when_the_object_is_there() -> None:
    bench = with_result()
    bench.say(FRIEND, AddBorrowers(Address(FRIEND, 1, "ipc://friend"), (A,)))
    lost = ObjectsLost(((A, far(1).region),), "gone")
    assert again(bench.say(FRIEND, lost)) == [("a", 1, (0,))]
    assert bench.say(FRIEND, lost) == []
    assert len(told(bench.ended("a", far(2, FARTHER), attempt=1), A)) == 1
    assert len(told(bench.say(FRIEND, lost), A)) == 1, "what it could not read is history"


def test_a_borrower_is_told_why_not_and_of_what_is_not_known() -> None:
    bench = with_result(retries=0)
    bench.say(FRIEND, AddBorrowers(Address(FRIEND, 1, "ipc://friend"), (A,)))
    done = bench.say(FRIEND, ObjectsLost(((A, far(1).region), (C, 5)), "gone"))
    assert [fault.why for each in told(done, A) for fault in each.faults] == [REASON_NO_RETRIES]
    gone = [each.objects for each in messages(done) if isinstance(each, ObjectsGone)]
    assert gone == [(C,)]


def test_nothing_is_left_when_all_is_dropped_while_it_is_made_again() -> None:
    bench = chain()
    bench.lose(B, far(2))
    bench.drop(B)
    bench.ended("a", far(3, FARTHER), attempt=1)
    bench.ended("b", far(4, FARTHER), attempt=1)
    assert bench.owner.pins.lineage.entries == {}
    assert bench.owner.refs.records == {}
    assert bench.process.store.waiting == {}, "who waited has heard of it"


# -- what is borrowed ------------------------------------------------------------------------------
X = result("x")


def borrowing() -> RebuildBench:
    """This process has a reference to an object of a friend, which lies on a third node."""
    bench = RebuildBench()
    nested = NestedRef(X, Address(FRIEND, 1, "ipc://friend"))
    value = entries(Parcel(b"x", refs=(nested,)))
    bench.submit(spec("a"))
    bench.say(WORKER, TasksDone((Outcome(task("a"), 0, 0, 0, value),)))
    bench.step(WantValues((X,)))
    bench.say(FRIEND, ObjectIs(X, entries(far(5))))
    assert bench.value(X) == far(5)
    return bench


def test_a_borrower_asks_the_owner_where_its_object_is_now() -> None:
    bench = borrowing()
    lost = bench.lose(X, far(5))
    assert Send(FRIEND, ObjectsLost(((X, far(5).region),), NODE_GONE)) in lost
    assert bench.open(X) == [], "it has asked already"
    bench.say(FRIEND, ObjectIs(X, entries(far(6, FARTHER))))
    assert len(opened(bench.held(far(6, FARTHER)))) == 2
    done = bench.say(FRIEND, ObjectsLost(((X, 5),), "gone"))
    assert messages(done) == [ObjectsGone((X,), "its owner does not have it any more")]


def test_a_borrower_that_waits_hears_of_the_death_of_the_owner() -> None:
    bench = borrowing()
    bench.lose(X, far(5))
    (answer,) = opened(bench.goodbye(FRIEND))
    assert answer.value.kind is FaultKind.OWNER_DIED


def test_a_borrower_whose_reference_goes_meanwhile_waits_no_more() -> None:
    bench = borrowing()
    bench.lose(X, far(5))
    gone = bench.drop(result("a"))
    assert those(gone, ViewRefused) != []
    assert bench.process.store.waiting == {}


def test_an_argument_that_is_borrowed_is_asked_for_and_pinned() -> None:
    bench = borrowing()
    bench.made(spec("b", slots=[X], retries=3), far(2))
    assert bench.owner.pins.needs() == [X]
    bench.submit(spec("c", slots=[X]))
    lost = ArgumentsLost(LEASE, task("c"), 0, ((0, far(5).region),), "gone")
    done = bench.say(WORKER, lost)
    assert Send(FRIEND, ObjectsLost(((X, far(5).region),), "gone")) in done
    bench.lose(B, far(2))
    assert bench.owner.tasks.entries[task("b")].doing.state is Doing.WAITING_ARGS
    gone = bench.say(FRIEND, ObjectsGone((X,), "gone"))
    assert [each.value.kind for each in opened(gone)] == [FaultKind.ARGUMENT]


# -- rare ------------------------------------------------------------------------------------------
def test_an_argument_that_is_an_error_by_now_fails_its_task() -> None:
    bench = RebuildBench()
    bench.made(spec("a", retries=1), far(1))
    bench.submit(spec("b", slots=[A]))
    bench.lose(A, far(1))
    bench.advance(2 * MS)
    error = Parcel(b"error", (), True)
    bench.ended("a", error, attempt=1, kind=OUTCOME_ERROR)
    bench.say(WORKER, arguments_lost())
    value = bench.value(B)
    assert isinstance(value, Fault)
    assert value.cause == error


def test_a_run_whose_argument_is_an_error_by_now_fails() -> None:
    bench = RebuildBench()
    bench.made(spec("a", retries=1), far(1))
    bench.made(spec("b", slots=[A], retries=1), far(2))
    bench.lose(A, far(1), "its disk broke")
    bench.ended("a", Parcel(b"error", (), True), attempt=1, kind=OUTCOME_ERROR)
    (answer,) = [each for each in opened(bench.lose(B, far(2))) if each.request == 2]
    assert answer.value.kind is FaultKind.ARGUMENT


def test_a_parent_that_is_spent_by_now_is_named() -> None:
    bench = RebuildBench()
    bench.made(spec("a", 2, retries=1), far(1), far(7, FARTHER))
    bench.made(spec("b", slots=[result("a", 1)], retries=3), far(2))
    bench.drop(result("a", 1))
    bench.lose(A, far(1))
    bench.ended("a", b"small", NONE, attempt=1)
    (answer,) = [each for each in opened(bench.lose(B, far(2))) if each.request == 2]
    assert answer.value.cause.why == REASON_SPENT


def test_few_nodes_that_are_gone_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "NODES_GONE_COUNT_MAX", 1)
    bench = RebuildBench()
    bench.made(spec("a", 3, retries=-1), far(1), far(2, FARTHER), far(3))
    bench.lose(A, far(1))
    bench.ended("a", b"small", NONE, far(4), attempt=1)
    assert bench.value(result("a", 2)) == far(4)
    bench.lose(result("a", 1), far(2, FARTHER))
    assert bench.value(result("a", 2)) == far(4), "nobody knows any more that its node is gone"
    assert bench.owner.tasks.entries[task("a")].retries_left == -1
