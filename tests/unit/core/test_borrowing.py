"""References between processes: what is counted, told, kept and let go, message by message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.bench import asked
from tests.unit.core.names import (
    FUNCTION,
    ME,
    NODE,
    PAYLOAD,
    WORKER,
    address,
    lease,
    peer,
    pushed,
    spec,
    stream_spec,
    task,
    those,
)
from tests.unit.core.names import result as named_result
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from zgen.core.cancel_words import CancelRequested
from zgen.core.effects import (
    Effect,
    LearnFunction,
    ObjectsReady,
    OpenConnection,
    Send,
)
from zgen.core.events import (
    ConnectionLost,
    CountRef,
    DefineTaskFunction,
    Dropped,
    Event,
    PutObject,
    SubmitTask,
    TaskEnded,
    WantValues,
    Yielded,
)
from zgen.core.lent_refs import LentRefs
from zgen.core.store_effects import ViewOpened
from zgen.core.store_events import OpenView
from zgen.ids import ObjectId, PeerId
from zgen.limits import BORROW_GRACE_NS, SECOND
from zgen.wire.lease import LeaseGranted, ProcessDown
from zgen.wire.object import (
    AddBorrowers,
    FaultSaid,
    KeepWorker,
    LoansTaken,
    ObjectIs,
    ObjectsGone,
    ReturnBorrows,
    WantObjects,
    WatchProcess,
)
from zgen.wire.store import HoldRegions, LeasedRegion, Place, RegionsHeld, UnholdRegions
from zgen.wire.stream import ReportItems
from zgen.wire.task import (
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    STREAMING,
    DefineFunction,
    Outcome,
    PushTasks,
    TasksDone,
)
from zgen.wire.value import Fault, FaultKind, NestedRef, Parcel, Stored, Value, pack

L = lease("l")
OTHER = peer("other")
X, Y = named_result("x"), named_result("y")
PLACE = Place(1, 0, 64, 4096, True)


def ref(name: ObjectId, owner: str) -> NestedRef:
    return NestedRef(name, address(owner))


def nested(*refs: NestedRef) -> Parcel:
    return Parcel(b"pickle", (), False, refs)


def is_(name: ObjectId, value: Value, *faults: FaultSaid) -> ObjectIs:
    return ObjectIs(name, pack((value,), []), faults)


def down(who: PeerId) -> ProcessDown:
    return ProcessDown(who, 1, 42, -1, 9, "", L, 0)


def fault(kind: str) -> FaultSaid:
    return FaultSaid(kind, "f", "why", 1, 2, 3, 4, 5, 6, False)


def borrower(*names: str) -> ProcessBench:
    """A worker that runs a task whose argument refers to objects of the driver, or of others."""
    bench = worker_bench()
    arguments = nested(*[ref(named_result(name), "driver") for name in names])
    entry = pack((arguments,), [])[0]
    task_ = pushed("t")
    bench.say(
        DRIVER, PushTasks(L, 0, (type(task_)(task_.task, 0, FUNCTION, "t", 1, entry, (), b""),))
    )
    return bench


def lender(*, executes: bool = False) -> ProcessBench:
    """A process that owns X, which a process "other" has met."""
    bench = ProcessBench(executes=executes)
    bench.meet("other")
    bench.step(PutObject(X, b"x"))
    return bench


def record(bench: ProcessBench, name: ObjectId = X) -> Any:
    return bench.process.owner.refs.records.get(name)


def die(bench: ProcessBench, who: PeerId) -> list[Effect]:
    done = bench.say(NODE, down(who))
    return done + bench.quiet()


def said(effects: list[Effect], kind: type) -> list[Send]:
    """Return the messages of a kind."""
    sends = [effect for effect in effects if isinstance(effect, Send)]
    return [send for send in sends if type(send.message) is kind]


def drop(*names: ObjectId) -> Event:
    return Dropped(names, ())


# -- owners ----------------------------------------------------------------------------------------
def test_an_object_lives_until_its_last_borrower_has_given_all_its_credits_back() -> None:
    bench = lender()
    added = AddBorrowers(address("lender"), (X, X))
    assert bench.say(OTHER, added) == [
        Send(NODE, WatchProcess(OTHER, 1)),
        Send(NODE, WatchProcess(peer("lender"), 1)),
        OpenConnection(peer("lender"), "ipc://lender", 1),  # its own word may come later
    ]
    assert bench.meet("lender") == [Send(peer("lender"), LoansTaken(OTHER, (X, X)))]
    bench.step(drop(X))
    bench.say(OTHER, ReturnBorrows(((X, 1),)))
    assert record(bench).pins == 1
    bench.say(OTHER, ReturnBorrows(((X, 0), (X, 1), (Y, 3))))
    assert record(bench) is None


def test_a_borrow_of_what_is_gone_is_answered_so() -> None:
    bench = lender()
    done = bench.say(OTHER, AddBorrowers(address("other"), (Y,)))
    assert those(done, Send)[1:] == [
        Send(OTHER, LoansTaken(OTHER, (Y,))),
        Send(OTHER, ObjectsGone((Y,), "its owner does not have it any more")),
    ]
    (gone,) = bench.say(OTHER, WantObjects((Y,)))
    assert gone == Send(OTHER, ObjectsGone((Y,), "its owner does not have it any more"))


def test_a_worker_that_lends_something_is_not_to_be_ended() -> None:
    bench = lender(executes=True)
    assert Send(NODE, KeepWorker(True)) in bench.say(OTHER, AddBorrowers(address("other"), (X,)))
    assert bench.say(OTHER, AddBorrowers(address("other"), (X,)))[-1:] != [
        Send(NODE, KeepWorker(True))
    ]
    assert Send(NODE, KeepWorker(False)) in bench.say(OTHER, ReturnBorrows(((X, 2),)))


def test_what_a_dead_borrower_had_is_kept_for_its_grace() -> None:
    bench = lender(executes=True)
    bench.say(OTHER, AddBorrowers(address("other"), (X,)))
    bench.step(drop(X))
    die(bench, OTHER)
    bench.advance(BORROW_GRACE_NS - SECOND)
    assert record(bench).pins == 1
    assert Send(NODE, KeepWorker(False)) in bench.advance(2 * SECOND)
    assert record(bench) is None


def test_a_value_is_told_when_it_is_there_to_those_who_still_want_it() -> None:
    bench = ProcessBench()
    names = ("one", "two", "three")
    for name in names:
        bench.meet(name)
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    bench.step(SubmitTask(spec("x")))
    for name in names:
        bench.say(peer(name), AddBorrowers(address(name), (X,)), WantObjects((X,)))
    bench.say(peer("one"), ReturnBorrows(((X, 1),)))
    die(bench, peer("two"))
    bench.say(NODE, LeaseGranted(asked(), address("worker"), 42))
    bench.meet("worker")
    done = bench.say(WORKER, TasksDone((Outcome(task("x"), 0, OUTCOME_VALUE, 1, (b"r",)),)))
    assert said(done, ObjectIs) == [Send(peer("three"), is_(X, b"r"))]
    assert bench.say(peer("three"), WantObjects((X,))) == [Send(peer("three"), is_(X, b"r"))]


def test_who_wants_a_value_and_gives_it_back_is_told_nothing() -> None:
    bench = ProcessBench()
    for name in ("one", "two"):
        bench.meet(name)
    bench.step(SubmitTask(spec("x")))
    for name in ("one", "two"):
        bench.say(peer(name), AddBorrowers(address(name), (X,)), WantObjects((X,)))
    die(bench, peer("one"))
    bench.say(peer("two"), ReturnBorrows(((X, 1),)))
    assert bench.process.owner.borrowing.askers == {}
    bench.meet("three")
    bench.say(peer("three"), AddBorrowers(address("three"), (X,)), WantObjects((X,)))
    die(bench, peer("three"))
    assert bench.process.owner.borrowing.askers == {}


def test_a_lost_connection_has_its_stranger_watched() -> None:
    bench = lender()
    bench.meet("third")
    for stranger in (OTHER, peer("third")):
        done = bench.step(ConnectionLost(stranger, bench.epoch(stranger)))
        assert Send(NODE, WatchProcess(stranger, 1)) in done
    bench.step(ConnectionLost(peer("nobody"), 1))
    bench.step(ConnectionLost(NODE, 99))


# -- borrowers -------------------------------------------------------------------------------------
def test_what_the_owner_sends_is_borrowed_without_a_word_and_given_back_with_one() -> None:
    bench = borrower("x")
    assert record(bench).borrow.credits == 1
    bench.step(CountRef(X))
    done = bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (b"",)))
    assert said(done, ReturnBorrows) == []
    assert record(bench).pins == 0
    assert bench.step(drop(X)) == [Send(DRIVER, ReturnBorrows(((X, 1),)))]


def test_what_somebody_else_sends_is_told_to_its_owner() -> None:
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    bench.step(SubmitTask(stream_spec("s")))
    bench.say(NODE, LeaseGranted(asked(), address("worker"), 42))
    bench.meet("worker")
    entries = pack((nested(ref(X, "other"), ref(Y, "worker")),), [])
    done = bench.say(WORKER, ReportItems(task("s"), 0, 0, entries))
    assert OpenConnection(OTHER, "ipc://other", 1) in done
    assert Send(NODE, WatchProcess(OTHER, 1)) in done
    assert Send(OTHER, AddBorrowers(address("worker"), (X,))) in bench.meet("other")
    done = bench.step(Dropped((), (task("s"),)))  # nobody will take the item
    assert Send(OTHER, ReturnBorrows(((X, 1),))) in done
    assert Send(WORKER, ReturnBorrows(((Y, 1),))) in done


def test_a_borrowed_value_is_asked_for_once_and_settles_what_waits() -> None:
    bench = borrower("x", "y")
    assert bench.step(WantValues((X, Y))) == [Send(DRIVER, WantObjects((X, Y)))]
    assert bench.step(WantValues((X, Y, named_result("z")))) == []
    bench.step(CountRef(X))
    bench.step(SubmitTask(spec("u", slots=(X,))))
    assert ObjectsReady((X,)) in bench.say(DRIVER, is_(X, b"value"))
    assert record(bench).value == b"value"
    assert bench.say(DRIVER, is_(X, nested(ref(Y, "driver")))) == []  # a second time
    assert record(bench, Y).pins == 1
    lost = Fault(FaultKind.OBJECT_LOST, Y.hex(), "why")
    assert bench.say(DRIVER, ObjectsGone((Y, Y, X), "why")) == [ObjectsReady((Y,))]
    assert record(bench, Y).value == lost
    assert bench.say(DRIVER, is_(named_result("z"), b"")) == []


def test_a_task_asks_for_the_borrowed_arguments_that_it_misses() -> None:
    bench = borrower("x")
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    bench.step(CountRef(X))
    assert Send(DRIVER, WantObjects((X,))) in bench.step(SubmitTask(spec("u", slots=(X,))))


def test_nobody_but_the_owner_says_what_an_object_is() -> None:
    bench = borrower("x")
    bench.meet("other")
    bench.step(PutObject(Y, b"mine"))
    bench.step(WantValues((X,)))
    assert bench.say(OTHER, is_(X, b"value"), is_(Y, b"value")) == []
    assert record(bench).value is None
    bench.step(drop(Y))


def test_faults_travel_with_their_causes() -> None:
    bench = borrower("x", "y")
    bench.step(WantValues((X, Y)))
    bench.say(DRIVER, ObjectIs(X, (), (fault("argument"), fault("worker crashed"))))
    cause = Fault(FaultKind.WORKER_CRASHED, "f", "why", 1, 2, 3, 4, 5, 6, False)
    assert record(bench).value == Fault(
        FaultKind.ARGUMENT, "f", "why", 1, 2, 3, 4, 5, 6, False, cause
    )
    raised = Parcel(b"error", (), True)
    bench.say(DRIVER, is_(Y, raised, fault("argument")))
    assert record(bench, Y).value.cause == raised
    other = lender()
    told = record(bench).value
    other.say(OTHER, AddBorrowers(address("other"), (X,)))
    other.process.owner.refs.records[X].value = told
    assert other.say(OTHER, WantObjects((X,))) == [
        Send(OTHER, ObjectIs(X, (), (fault("argument"), fault("worker crashed"))))
    ]


@pytest.mark.parametrize(
    "message",
    [ObjectIs(X, ()), ObjectIs(X, (b"", b"")), ObjectIs(X, (), (fault("bad luck"),))],
)
def test_an_object_that_is_nothing_is_refused(message: ObjectIs) -> None:
    bench = borrower("x")
    bench.step(WantValues((X,)))
    assert bench.say(DRIVER, message) == []
    assert sum(bench.counts.values()) == 1


def test_an_object_has_one_owner() -> None:
    bench = borrower("x")
    bench.meet("other")
    assert bench.say(OTHER, is_(Y, nested(ref(X, "other")))) == []
    assert list(bench.counts) == [f"two owners of object {X[:4].hex()}.0"]


def test_a_reference_that_comes_home_is_one_of_the_owners_own() -> None:
    bench = lender()
    value = is_(Y, nested(ref(X, "me"), ref(named_result("z"), "me")))
    assert bench.say(OTHER, value) == []  # nobody awaits it
    assert record(bench).pins == 0
    assert record(bench, named_result("z")) is None


# -- lenders ---------------------------------------------------------------------------------------
def passed_on() -> tuple[ProcessBench, list[Effect]]:
    """A worker that gave its driver an item with a reference to what "other" owns."""
    bench = worker_bench()
    bench.meet("other")
    bench.say(DRIVER, PushTasks(L, 0, (pushed("s", returns=STREAMING),)))
    bench.say(OTHER, DefineFunction(FUNCTION, PAYLOAD, (ref(X, "other"),)))
    done = bench.step(Yielded(task("s"), 0, nested(ref(X, "other"))))
    return bench, done


def test_a_loan_is_kept_until_the_owner_has_counted_the_borrower() -> None:
    bench, done = passed_on()
    assert those(done, Send) == said(done, ReportItems) != []
    assert record(bench).pins == 2  # what was defined closes over it for ever
    bench.say(OTHER, LoansTaken(DRIVER, (X, Y)))
    assert record(bench).pins == 1


def test_a_loan_to_a_dead_borrower_ends_with_its_grace() -> None:
    bench, _ = passed_on()
    die(bench, DRIVER)
    assert record(bench).pins == 2
    bench.advance(BORROW_GRACE_NS + SECOND)
    assert record(bench).pins == 1


def test_what_goes_to_its_owner_is_no_loan() -> None:
    bench = borrower("x")
    bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (nested(ref(X, "driver")),)))
    bench.advance(SECOND)
    assert record(bench) is None
    assert bench.process.owner.borrowing.lent.pinned() == []


def test_an_owner_counts_its_borrowers_as_it_sends() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (pushed("t"),)))
    bench.step(PutObject(X, b"x"))
    bench.step(PutObject(Y, nested(ref(X, "me"))))
    bench.step(drop(X))
    bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (nested(ref(Y, "me")),)))
    bench.step(drop(Y))
    bench.advance(SECOND)
    assert record(bench).pins == record(bench, Y).pins == 1
    bench.say(DRIVER, ReturnBorrows(((Y, 1),)))
    assert record(bench) is record(bench, Y) is None


def test_what_a_process_sends_to_itself_is_kept_until_it_is_there() -> None:
    bench = worker_bench()
    bench.meet("me")
    bench.say(ME, PushTasks(L, 0, (pushed("t"),)))
    bench.step(PutObject(X, b"x"))
    done = bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (nested(ref(X, "me")),)))
    bench.step(drop(X))
    (sent,) = said(done + bench.advance(SECOND), TasksDone)
    assert record(bench).pins == 1
    bench.say(sent.peer, sent.message)  # nobody awaits it
    assert record(bench) is None
    assert bench.process.owner.borrowing.lent.pinned() == []


def test_what_cannot_be_sent_any_more_is_let_go() -> None:
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, (pushed("t"),)))
    bench.step(PutObject(X, b"x"))
    die(bench, DRIVER)
    bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (nested(ref(X, "me")),)))
    bench.advance(SECOND)
    assert record(bench).pins == 0


def test_a_function_keeps_what_it_closes_over_here_and_at_its_workers() -> None:
    bench = ProcessBench()
    bench.step(PutObject(X, b"x"))
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD, (ref(X, "me"),)))
    bench.step(drop(X))
    bench.step(SubmitTask(spec("t", arguments=nested(ref(X, "me")))))
    bench.say(NODE, LeaseGranted(asked(), address("worker"), 42))
    done = bench.meet("worker")
    assert Send(WORKER, DefineFunction(FUNCTION, PAYLOAD, (ref(X, "me"),))) in done
    assert record(bench).pins == 3  # the function, the task's arguments, the worker
    bench.say(WORKER, TasksDone((Outcome(task("t"), 0, OUTCOME_VALUE, 1, (b"",)),)))
    assert record(bench).pins == 2
    worker = worker_bench()
    learnt = worker.say(DRIVER, DefineFunction(FUNCTION, PAYLOAD, (ref(X, "driver"),)))
    assert learnt == [LearnFunction(FUNCTION, PAYLOAD)]
    assert record(worker).pins == 1


def test_a_reference_that_was_dropped_while_it_was_pickled_is_a_lost_one() -> None:
    bench = borrower("y")
    bench.step(PutObject(X, nested(ref(named_result("z"), "me"), ref(named_result("q"), "other"))))
    for name in ("z", "q"):
        assert record(bench, named_result(name)).value.kind is FaultKind.OBJECT_LOST
    assert bench.step(drop(X)) == []
    assert record(bench, named_result("z")) is record(bench, named_result("q")) is None


def test_tasks_that_are_handed_back_let_go_of_what_they_were_given() -> None:
    bench = borrower("x")
    entry = pack((nested(ref(Y, "driver")),), [])[0]
    more = PushTasks(L, 1, (type(pushed("u"))(task("u"), 0, FUNCTION, "u", 1, b"", (entry,), b""),))
    bench.say(DRIVER, more)
    assert record(bench, Y).pins == 1
    assert Send(DRIVER, ReturnBorrows(((Y, 1),))) in bench.advance(SECOND)
    again = PushTasks(L, 1, more.tasks)  # before the driver has heard of that
    assert Send(DRIVER, ReturnBorrows(((Y, 1),))) in bench.say(DRIVER, again)


# -- deaths ----------------------------------------------------------------------------------------
def test_the_death_of_an_owner_is_an_error_for_who_waits_and_who_asks_later() -> None:
    bench, _ = passed_on()
    borrowing = bench.process.owner.borrowing
    assert bool(borrowing.is_borrower)
    bench.step(Yielded(task("s"), 0, nested(ref(X, "other"))))
    done = die(bench, OTHER)
    assert not bool(borrowing._owners)
    assert ObjectsReady((X,)) in done
    died = record(bench).value
    assert (died.kind, died.name) == (FaultKind.OWNER_DIED, X.hex())
    assert bench.process.owner.borrowing.lent.pinned() == []  # its loans are over
    bench.step(Yielded(task("s"), 0, nested(ref(X, "other"))))  # and there are no new ones
    bench.advance(SECOND)
    assert bench.process.owner.borrowing.lent.pinned() == []
    late = nested(ref(X, "other"), ref(Y, "other"))
    bench.say(DRIVER, is_(named_result("z"), late))
    entry = pack((late,), [])[0]
    bench.say(
        DRIVER,
        PushTasks(L, 1, (type(pushed("u"))(task("u"), 0, FUNCTION, "u", 1, entry, (), b""),)),
    )
    assert record(bench, Y).value.kind is FaultKind.OWNER_DIED


def test_an_inline_value_that_is_known_outlives_its_owner() -> None:
    bench = borrower("x")
    bench.step(WantValues((X,)))
    bench.say(DRIVER, is_(X, b"known"))
    bench.step(CountRef(X))
    die(bench, DRIVER)
    assert record(bench).value == b"known"
    bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (b"",)))
    assert bench.step(drop(X)) == []


def test_the_death_of_the_node_ends_all_waits() -> None:
    bench = ProcessBench()
    bench.meet("other")
    bench.step(PutObject(Y, nested(ref(X, "other"))))
    bench.process.owner.refs.records[X].value = None  # as one that came is
    borrow = bench.process.owner.refs.records[X].borrow
    assert borrow is not None
    borrow.credits = 1
    bench.goodbye(NODE)
    assert record(bench).value.kind is FaultKind.NODE_DIED
    late = is_(named_result("z"), nested(ref(named_result("q"), "third")))
    bench.say(OTHER, late)
    bench.process.owner.borrowing.tell_node([])


def test_values_in_shared_memory_are_held_by_who_looks_and_go_with_their_owner() -> None:
    bench = borrower("x", "y")
    stored = Stored(NODE, 7, PLACE, b"pickle", (64,), (ref(Y, "driver"),))
    bench.step(WantValues((X,)))
    bench.say(DRIVER, is_(X, stored))
    assert record(bench, Y).pins == 2
    assert bench.step(OpenView(1, X)) == [Send(NODE, HoldRegions(1, (7,), (64,)))]
    held = bench.say(NODE, RegionsHeld(1, (LeasedRegion(7, PLACE),), (), ""))
    assert held == [ViewOpened(1, stored, PLACE)]
    assert bench.step(Dropped((), (), (7,))) == [Send(NODE, UnholdRegions((7,)))]
    die(bench, DRIVER)
    assert record(bench).value.kind is FaultKind.OWNER_DIED
    assert record(bench, Y).pins == 1


def test_a_borrowed_value_lets_go_of_what_it_refers_to() -> None:
    bench = borrower("x")
    bench.step(WantValues((X,)))
    bench.say(DRIVER, is_(X, nested(ref(Y, "driver"))))
    done = bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (b"",)))
    returned = [send.message.objects for send in said(done, ReturnBorrows)]
    assert sorted(sum(returned, ())) == [(X, 1), (Y, 1)]


def test_counts_of_who_is_not_counted_are_ignored() -> None:
    lent = LentRefs()
    assert not lent.uncount(lent.borrowers, OTHER, X, 1)
    assert lent.count(lent.borrowers, OTHER, X)
    assert not lent.count(lent.borrowers, OTHER, X)
    lent.count(lent.borrowers, OTHER, Y)
    assert not lent.uncount(lent.borrowers, OTHER, X, 1)
    assert lent.uncount(lent.borrowers, OTHER, X, 5)
    assert lent.is_owner
    lent.check()
    lent.bury(ME, 0)
    assert lent.deadlines.next_ns is None


def test_the_machine_notices_a_pin_without_a_reason() -> None:
    bench = lender()
    bench.process.owner.refs.pin(X)
    with pytest.raises(AssertionError, match="none are needed, 1 x"):
        bench.process.check()


def test_what_a_cancelled_task_had_yielded_before_it_would_run_again_is_let_go() -> None:
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, b"pickle"))
    bench.step(SubmitTask(spec("t", returns=2, retries=1)))
    bench.say(NODE, LeaseGranted(asked(), address("worker"), 42))
    bench.meet("worker")
    bench.step(CancelRequested(task("t"), False, True))
    entries = pack((nested(ref(X, "worker")), b"error"), [])
    outcome = Outcome(task("t"), 0, OUTCOME_RETRY, 0, entries)
    done = bench.say(peer("worker"), TasksDone((outcome,)))
    assert Send(peer("worker"), ReturnBorrows(((X, 1),))) in done
    assert record(bench) is None
