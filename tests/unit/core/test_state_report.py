"""What a process says of what it owns, and why it is held."""

from __future__ import annotations

import pytest

from tests.unit.core.actor_bench import ACTOR, HANDLE, ActorBench
from tests.unit.core.bench import OwnerBench, asked
from tests.unit.core.names import (
    FUNCTION,
    NODE,
    PAYLOAD,
    WORKER,
    address,
    lease,
    peer,
    pushed,
    result,
    spec,
    stream_spec,
    task,
)
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from zgen.core import object_holds, state_report
from zgen.core.effects import Effect, Send
from zgen.core.events import CountRef, DefineTaskFunction, PutObject, SubmitTask, TaskEnded
from zgen.core.object_holds import pins_of
from zgen.core.state_report import StateReport
from zgen.core.state_words import AskState, StateCame
from zgen.core.supervision import KILLED
from zgen.ids import NO_ACTOR, ObjectId, item_ids
from zgen.limits import STATE_ROWS_COUNT_MAX
from zgen.wire.actor import ActorSettings, HostActor
from zgen.wire.lease import LeaseGranted, ProcessDown
from zgen.wire.object import AddBorrowers
from zgen.wire.state import (
    ACTORS,
    ERROR,
    INLINE,
    NO_REGION,
    OBJECTS,
    PENDING,
    SHARED,
    STREAMS,
    TASKS,
    WORKERS,
    HoldSaid,
    ListState,
    StateRows,
    StateTold,
    TellState,
)
from zgen.wire.store import Place
from zgen.wire.stream import ReportItems
from zgen.wire.task import OUTCOME_VALUE, DefineFunction, PushedCall, PushTasks
from zgen.wire.value import NONE, NestedRef, Parcel, Stored, Value, pack

X, Y, Z = result("x"), result("y"), result("z")
ME, OTHER = peer("me"), peer("other")
L = lease("l")
STORED = Stored(NODE, 5, Place(1, 0, 4096, 4096, True), b"12", (1000,))
LOCAL = HoldSaid("local reference", "this process", 1)


def nested(*names: ObjectId, owner: str = "me") -> Parcel:
    return Parcel(b"pickle", (), False, tuple([NestedRef(n, address(owner)) for n in names]))


def parts(bench: ProcessBench, what: str, limit: int = 100) -> list[StateRows]:
    """Return what a process says to its node, after a look at whether all pins are explained."""
    pins = pins_of(bench.process.owner, bench.process.executor)
    for name, record in bench.process.owner.refs.records.items():
        assert sum(pins.get(name, {}).values()) == record.pins
    sent = bench.say(NODE, TellState(7, what, limit))
    assert all(isinstance(each, Send) and each.peer == NODE for each in sent)
    return [each.message for each in sent if isinstance(each, Send)]


def rows(bench: ProcessBench, what: str, limit: int = 100) -> StateRows:
    (told,) = parts(bench, what, limit)
    assert (told.query, told.process, told.is_last) == (7, ME, True)
    return told


def holds(bench: ProcessBench, name: ObjectId = X) -> tuple[HoldSaid, ...]:
    (row,) = [row for row in rows(bench, OBJECTS).objects if row.object == name]
    return row.holds


def driver(*puts: tuple[ObjectId, Value]) -> ProcessBench:
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    for name, value in puts:
        bench.step(PutObject(name, value))
    return bench


def at_worker(bench: ProcessBench) -> ProcessBench:
    bench.say(NODE, LeaseGranted(asked(), address("worker"), 42))
    bench.meet("worker")
    return bench


# -- why objects are held --------------------------------------------------------------------------
def test_a_user_reference_holds_an_object_in_a_driver() -> None:
    assert holds(driver((X, b"x"))) == (LOCAL,)


def test_tasks_hold_their_arguments() -> None:
    bench = driver((X, b"x"), (Y, b"y"))
    bench.step(SubmitTask(spec("t", slots=(X, X), arguments=nested(Y))))
    bench.step(SubmitTask(spec("u")))
    by = HoldSaid("pending task", f"t() {task('t')[:4].hex()}", 2)
    assert holds(bench) == (LOCAL, by)
    assert holds(bench, Y) == (LOCAL, HoldSaid("pending task", by.by, 1))


def test_values_and_unread_items_hold_what_is_inside() -> None:
    bench = driver((X, b"x"), (Y, nested(X)))
    bench.step(SubmitTask(stream_spec("s")))
    at_worker(bench)
    bench.say(WORKER, ReportItems(task("s"), 0, 0, pack((b"plain", nested(X)), [])))
    assert holds(bench) == (
        LOCAL,
        HoldSaid("inside a value", f"object {Y[:4].hex()}.0", 1),
        HoldSaid("inside a value", f"an item of s() {task('s')[:4].hex()}", 1),
    )
    told = rows(bench, OBJECTS)
    unread = HoldSaid("unread item", f"s() {task('s')[:4].hex()}", 1)
    items = {row.object: row for row in told.objects if row.holds == (unread,)}
    assert list(items) == list(item_ids(task("s"), 0, 2))[::-1]  # the largest first
    assert told.count == 4


def test_functions_hold_what_they_close_over() -> None:
    bench = driver((X, b"x"))
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD, (NestedRef(X, address("me")),)))
    assert holds(bench)[1] == HoldSaid("function", "a function of this process", 1)


def test_borrowers_hold_and_the_dead_for_a_while() -> None:
    bench = driver((X, b"x"))
    bench.meet("other")
    bench.say(OTHER, AddBorrowers(address("other"), (X, X)))
    assert holds(bench)[1] == HoldSaid("borrower", OTHER.hex(), 1)
    bench.say(NODE, ProcessDown(OTHER, 1, 42, -1, 9, "", L, 0))
    bench.quiet()
    assert holds(bench)[1].reason == "dead borrower"


def pushed_to(bench: ProcessBench, name: str, *names: ObjectId) -> None:
    """Push a task whose argument refers to objects of the driver."""
    entry = pack((nested(*names, owner="driver"),), [])[0]
    work = pushed(name)
    made = type(work)(work.task, 0, FUNCTION, name, 1, entry, (), b"")
    bench.say(DRIVER, PushTasks(L, bench_pushes(bench), (made,)))


def bench_pushes(bench: ProcessBench) -> int:
    executor = bench.process.executor
    assert executor is not None
    return len(object_holds.work_of(executor))


def test_work_holds_what_its_arguments_refer_to_and_functions_too() -> None:
    bench = worker_bench()
    closed = (NestedRef(X, address("driver")),)
    bench.say(DRIVER, DefineFunction(FUNCTION, PAYLOAD, closed))
    pushed_to(bench, "t", X)
    pushed_to(bench, "u", X)
    bench.step(CountRef(X))
    assert holds(bench) == (
        LOCAL,
        HoldSaid("running task", f"t() {task('t')[:4].hex()}", 1),
        HoldSaid("running task", f"u() {task('u')[:4].hex()}", 1),
        HoldSaid("function", "a function that runs here", 1),
    )
    told = rows(bench, OBJECTS)
    assert (told.count, told.totals, told.objects[0].owner) == (0, (), DRIVER)
    assert rows(bench, TASKS).running == (task("t"),)


def test_what_waits_to_be_sent_holds_what_is_inside() -> None:
    bench = worker_bench()
    for name in "tuv":
        pushed_to(bench, name)
    bench.step(PutObject(X, b"x"))
    bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (NONE,)))
    bench.step(TaskEnded(task("u"), 0, OUTCOME_VALUE, (nested(X),)))  # the line is busy, and v runs
    assert holds(bench) == (LOCAL, HoldSaid("inside a value", "what waits to be sent", 1))


def test_an_actor_has_state_and_calls_that_run_and_wait() -> None:
    bench = worker_bench()
    bench.say(DRIVER, HostActor(ACTOR, 0, ActorSettings()))
    calls = (PushedCall(ACTOR, "__init__"),)
    bench.say(DRIVER, PushTasks(L, 0, (pushed("actor"),), 0, calls))
    assert rows(bench, TASKS).actor == NO_ACTOR
    bench.step(TaskEnded(task("actor"), 0, OUTCOME_VALUE, (NONE,)))
    bench.step(PutObject(X, b"x"))
    two = (PushedCall(ACTOR, "m"), PushedCall(ACTOR, "m"))
    bench.say(DRIVER, PushTasks(L, 1, (pushed("a"), pushed("b")), 0, two))
    by = f"actor {ACTOR[:4].hex()}"
    assert holds(bench) == (HoldSaid("actor state", by, 1),)
    told = rows(bench, TASKS)
    assert (told.actor, told.running) == (ACTOR, (task("a"),))


# -- rows ------------------------------------------------------------------------------------------
def told_by(bench: OwnerBench, what: str, limit: int = 100) -> StateRows:
    """Return what an owner says that is no whole process."""
    out: list[Effect] = []
    report = StateReport(ME, bench.owner, None)
    report.handlers[TellState](NODE, TellState(7, what, limit), 0, out)
    (sent,) = out
    assert isinstance(sent, Send)
    return sent.message  # type: ignore[no-any-return]  # a ``Send`` has any message


def test_objects_are_told_with_size_and_place_the_largest_first() -> None:
    bench = OwnerBench()
    bench.running(stream_spec("s"))
    bench.items("s", 0, *pack((STORED,), []))
    bench.take("s")
    bench.put(X, b"xx")
    bench.put(Y, Parcel(b"error", (), True))
    bench.submit(spec("z"))
    told = told_by(bench, OBJECTS)
    assert [(row.object, row.size_bytes, row.place, row.region) for row in told.objects] == [
        (item_ids(task("s"), 0, 1)[0], 1002, SHARED, 5),
        (Y, 5, ERROR, NO_REGION),
        (X, 2, INLINE, NO_REGION),
        (Z, 0, PENDING, NO_REGION),
    ]
    assert [(each.reason, each.count, each.size_bytes) for each in told.totals] == [
        ("", 4, 1009),
        ("local reference", 4, 1009),
    ]


@pytest.mark.parametrize(("limit", "expected"), [(-1, []), (0, []), (1, [Z]), (2, [Z, X])])
def test_a_limit_leaves_the_largest_and_the_totals(limit: int, expected: list[ObjectId]) -> None:
    bench = driver((X, b"22"), (Y, b"22"), (Z, b"333"))
    told = rows(bench, OBJECTS, limit)
    assert [row.object for row in told.objects] == expected
    assert (told.count, told.totals[0].size_bytes) == (3, 7)
    assert [part.is_last for part in parts(bench, OBJECTS, 10**9)] == [True]


def test_many_rows_are_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_report, "STATE_PART_COUNT_MAX", 2)
    bench = driver(*[(result(f"o{number}"), b"") for number in range(5)])
    told = parts(bench, OBJECTS, STATE_ROWS_COUNT_MAX)
    assert [(len(part.objects), len(part.totals), part.is_last) for part in told] == [
        (2, 2, False),
        (2, 0, False),
        (1, 0, True),
    ]


def test_many_reasons_are_counted_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_report, "STATE_HOLDS_COUNT_MAX", 2)
    bench = driver((X, b"x"))
    for number in range(3):
        bench.step(SubmitTask(spec(f"t{number}", slots=(X,))))
    (row, *_) = rows(bench, OBJECTS).objects
    assert (row.object, len(row.holds), row.more) == (X, 2, 2)


def test_borrowed_objects_are_told_beside_the_owned_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = worker_bench()
    pushed_to(bench, "t", X, Y)
    assert {row.object: row.place for row in rows(bench, OBJECTS, 0).objects} == {
        X: PENDING,
        Y: PENDING,
    }
    monkeypatch.setattr(state_report, "STATE_ROWS_COUNT_MAX", 1)
    assert [row.object for row in rows(bench, OBJECTS, 0).objects] == [X]


def test_tasks_are_told_with_what_they_wait_for_and_where_they_are() -> None:
    bench = driver()
    bench.step(SubmitTask(spec("a", returns=5)))
    missing = [result("a", index) for index in range(5)]
    bench.step(SubmitTask(spec("b", slots=missing[:1], retries=3)))
    bench.step(SubmitTask(spec("c", slots=missing)))
    waits = [(row.name, row.state, row.waits_for, row.worker) for row in rows(bench, TASKS).tasks]
    three = ", ".join([name.hex() for name in missing[:3]])
    assert waits == [
        ("a", "PENDING_NODE_ASSIGNMENT", "", bytes(16)),
        ("b", "PENDING_ARGS_AVAIL", missing[0].hex(), bytes(16)),
        ("c", "PENDING_ARGS_AVAIL", f"{three} and 2 more", bytes(16)),
    ]
    at_worker(bench)
    told = rows(bench, TASKS, 1)
    assert [(row.state, row.worker) for row in told.tasks] == [("SUBMITTED_TO_WORKER", WORKER)]
    assert (told.count, told.running) == (3, ())


def test_actors_and_their_calls_are_told() -> None:
    bench = ActorBench()
    bench.create(ActorSettings(name="one", namespace="space", class_name="Class"))
    (made,) = told_by(bench, TASKS).tasks
    assert (made.creates_actor, made.actor) == (True, ACTOR)
    (row,) = told_by(bench, ACTORS).actors
    assert (row.class_name, row.name, row.namespace) == ("Class", "one", "space")
    assert (row.state, row.worker, row.pid) == ("PENDING_CREATION", bytes(16), 0)
    bench.grant_actor()
    bench.created()
    bench.call("a")
    (row,) = told_by(bench, ACTORS).actors
    assert (row.state, row.worker, row.pid, row.reason) == ("ALIVE", WORKER, 42, "")
    (call,) = told_by(bench, TASKS).tasks  # the creation has ended, for people
    assert (call.name, call.actor, call.worker, call.creates_actor) == ("a", ACTOR, WORKER, False)
    handle = {row.object: row.holds for row in told_by(bench, OBJECTS).objects}[HANDLE]
    assert handle == (LOCAL, HoldSaid("pending call", "1 of them", 1))
    bench.kill()
    (row,) = told_by(bench, ACTORS).actors
    assert (row.state, row.reason, row.pid) == ("DEAD", KILLED, 0)


def test_streams_are_told() -> None:
    bench = OwnerBench()
    bench.running(stream_spec("s"))
    bench.items("s", 0, b"one", b"three")
    bench.take("s", 1)
    (row,) = told_by(bench, STREAMS).streams
    assert (row.reported, row.taken, row.unread, row.unread_bytes) == (2, 1, 1, 5)
    assert (row.ended, row.is_held, row.worker) == (False, True, WORKER)
    bench.end("s", 2)
    (row,) = told_by(bench, STREAMS).streams
    assert (row.ended, row.worker) == (True, bytes(16))


def test_a_process_among_others_says_nothing_but_that_it_is_there() -> None:
    assert rows(driver((X, b"")), WORKERS) == StateRows(7, ME, True)


# -- who may ask -----------------------------------------------------------------------------------
def test_nobody_but_the_node_is_told_and_believed() -> None:
    bench = driver((X, b""))
    bench.meet("other")
    answers = StateRows(1, OTHER, True), StateTold(1, NODE, ())
    for message in (TellState(1, OBJECTS, 1), *answers):
        assert bench.say(OTHER, message) == []
    assert sum(bench.counts.values()) == 3
    for answer in answers:
        assert bench.say(NODE, answer) == [StateCame(answer)]


def test_a_process_asks_its_node() -> None:
    event = AskState(3, OBJECTS, 10, 20)
    assert ProcessBench().step(event) == [Send(NODE, ListState(3, OBJECTS, 10, 20, True))]
    assert ProcessBench(joined=False).step(event) == []
