"""Session, owner and executor as one machine."""

from __future__ import annotations

import pytest

from tests.unit.core.bench import asked, outcome
from tests.unit.core.names import (
    FUNCTION,
    JOB,
    NODE,
    ONE,
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
    those,
)
from tests.unit.core.process_bench import DRIVER, ProcessBench, worker_bench
from zgen.core import executor as executor_module
from zgen.core import session as session_module
from zgen.core.effects import (
    CloseConnection,
    Effect,
    Exit,
    HoldBody,
    ItemsTaken,
    JobReady,
    LearnFunction,
    Left,
    NodeAnswered,
    NodeLost,
    ObjectsReady,
    OpenConnection,
    Rekey,
    ReleaseBody,
    Send,
    StartTask,
    StreamAdvanced,
)
from zgen.core.events import (
    Arrived,
    AskNode,
    BodyBlocked,
    ConnectionLost,
    DefineTaskFunction,
    Dropped,
    InboxDrained,
    Join,
    Leave,
    ProcessExited,
    PutObject,
    RefCompletion,
    RegisterDriver,
    SubmitTask,
    TakeItems,
    TaskEnded,
    TimerDue,
    Yielded,
)
from zgen.core.task_table import Doing
from zgen.ids import item_ids
from zgen.limits import (
    ACK_DELAY_NS,
    LINE_BUSY_NS,
    LINE_TICK_NS,
    MS,
    QUIET_LINE_NS,
    TASK_LONG_NS,
)
from zgen.wire.cluster import KeysChanged
from zgen.wire.lease import (
    JobRegistered,
    LeaseGranted,
    NodeReport,
    ProcessDown,
    QueryNode,
    RegisterJob,
    RequestLease,
    ReturnLease,
    WorkerBlocked,
    WorkerReady,
)
from zgen.wire.object import KeepWorker, WatchProcess
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import (
    OUTCOME_VALUE,
    STREAMING,
    DefineFunction,
    Outcome,
    PushTasks,
    TasksDone,
)
from zgen.wire.value import Fault, FaultKind

L = lease("l")
S = task("s")
KILLED = ProcessDown(WORKER, 1, 42, -1, 9, "last words", asked(), 1)
GRANT = LeaseGranted(asked(), address("worker"), 42)


def owner_with(*names: str, retries: int = 0) -> ProcessBench:
    """A driver whose tasks are at a worker."""
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    for name in names:
        bench.step(SubmitTask(spec(name, retries=retries)))
    bench.say(NODE, GRANT)
    bench.meet("worker")
    return bench


def worker_with(*names: str, returns: int = 1) -> ProcessBench:
    """A worker that runs the first of these tasks."""
    bench = worker_bench()
    bench.say(DRIVER, PushTasks(L, 0, tuple(pushed(name, returns=returns) for name in names)))
    return bench


def state(bench: ProcessBench, name: str) -> Doing | None:
    entry = bench.process.owner.tasks.entries.get(task(name))
    return entry.doing.state if entry is not None else None


# -- joining -------------------------------------------------------------------------------------
def test_a_driver_dials_its_node_and_registers() -> None:
    bench = ProcessBench(joined=False)
    assert bench.step(Join(address("node"), JOB, 7)) == [OpenConnection(NODE, "ipc://node", 1)]
    bench.meet("node")
    assert bench.process.node == NODE
    assert bench.step(RegisterDriver(7, ("lib",), "folder", ())) == [
        Send(NODE, RegisterJob(JOB, 7, ("lib",), "folder", ()))
    ]


def test_a_worker_tells_its_node_that_it_is_ready() -> None:
    bench = ProcessBench(executes=True, joined=False)
    bench.step(Join(address("node"), JOB, 7))
    assert bench.meet("node") == [Send(NODE, WorkerReady(7))]


# -- the owner's side ----------------------------------------------------------------------------
def test_a_call_asks_for_a_worker_dials_it_and_pushes_when_it_is_reached() -> None:
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    assert bench.step(SubmitTask(spec("a"))) == [
        Send(NODE, RequestLease(asked(), JOB, ONE, "a", retriable=False))
    ]
    assert bench.say(NODE, GRANT) == [OpenConnection(WORKER, "ipc://worker", 1)]
    assert bench.meet("worker") == [
        Send(WORKER, DefineFunction(FUNCTION, PAYLOAD)),
        Send(WORKER, PushTasks(asked(), 0, (pushed("a"),))),
    ]
    assert bench.say(WORKER, TasksDone((outcome("a", b"value"),))) == [ObjectsReady((result("a"),))]


def test_a_stream_is_taken_and_dropped() -> None:
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    bench.step(SubmitTask(stream_spec("s")))
    bench.say(NODE, GRANT)
    bench.meet("worker")
    assert bench.say(WORKER, ReportItems(S, 0, 0, (b"a",))) == [StreamAdvanced(S)]
    assert bench.step(TakeItems(S, 5)) == [ItemsTaken(S, item_ids(S, 0, 1), False)]
    assert bench.step(RefCompletion(S)) == []
    assert bench.step(Dropped((), (S,))) == [Send(WORKER, CloseStream(S, 0))]


def test_objects_are_put_and_dropped_without_a_word() -> None:
    bench = ProcessBench()
    assert bench.step(PutObject(result("put"), b"value")) == []
    assert bench.process.owner.refs.value_of(result("put")) == b"value"
    assert bench.step(Dropped((result("put"),), ())) == []
    assert bench.process.owner.refs.records == {}


def test_the_node_is_asked_and_answers() -> None:
    bench = ProcessBench()
    assert bench.step(AskNode(5)) == [Send(NODE, QueryNode(5))]
    assert bench.say(NODE, NodeReport(5, "{}")) == [NodeAnswered(5, "{}")]


def test_a_grant_of_a_dead_worker_is_refused() -> None:
    bench = ProcessBench()
    bench.step(SubmitTask(spec("a")))
    bench.say(NODE, KILLED)
    assert bench.say(NODE, GRANT) == []
    assert bench.counts == {"a grant of a dead worker": 1}
    assert state(bench, "a") is Doing.WAITING_LEASE


# -- the executor's side -------------------------------------------------------------------------
def test_a_worker_runs_what_is_pushed_and_reports() -> None:
    bench = worker_bench()
    define = DefineFunction(FUNCTION, PAYLOAD)
    assert bench.say(DRIVER, define) == [LearnFunction(FUNCTION, PAYLOAD)]
    start = StartTask(pushed("a"), DRIVER, b"args", (), L, 0)
    assert bench.say(DRIVER, PushTasks(L, 0, (pushed("a"),))) == [start]
    bench.now_ns += 5
    done = TasksDone((Outcome(task("a"), 0, OUTCOME_VALUE, 5, (b"value",)),))
    assert bench.step(TaskEnded(task("a"), 0, OUTCOME_VALUE, (b"value",))) == [Send(DRIVER, done)]


def test_yields_leave_at_once_or_with_the_tick() -> None:
    bench = worker_with("s", returns=STREAMING)
    assert bench.step(Yielded(S, 0, b"a")) == [Send(DRIVER, ReportItems(S, 0, 0, (b"a",)))]
    bench.advance(0)
    assert bench.step(Yielded(S, 0, b"b")) == []
    assert bench.due() == bench.now_ns + LINE_TICK_NS
    assert bench.step(Yielded(S, 0, b"c")) == []
    sent = bench.advance(LINE_TICK_NS)
    assert sent == [Send(DRIVER, ReportItems(S, 0, 1, (b"b", b"c")))]


def test_a_yield_on_a_busy_line_does_not_put_an_earlier_deadline_off() -> None:
    bench = worker_bench()
    tasks = (pushed("s", returns=STREAMING), pushed("b"))
    bench.say(DRIVER, PushTasks(L, 0, tasks))
    bench.step(Yielded(S, 0, b"a"))
    bench.now_ns += TASK_LONG_NS - LINE_BUSY_NS // 2
    bench.step(Yielded(S, 0, b"b"))
    long_ns = bench.due()
    assert long_ns is not None
    assert bench.step(Yielded(S, 0, b"c")) == []
    assert bench.due() == long_ns < bench.now_ns + LINE_TICK_NS


def test_a_yield_into_a_closed_stream_asks_for_no_tick() -> None:
    bench = worker_with("s", returns=STREAMING)
    bench.say(DRIVER, CloseStream(S, 0))
    bench.advance(ACK_DELAY_NS)
    due_ns = bench.due()
    assert bench.step(Yielded(S, 0, b"a")) == []
    assert bench.due() == due_ns
    end = ReportEnd(S, 0, 1, OUTCOME_VALUE, ACK_DELAY_NS, ())
    assert bench.step(TaskEnded(S, 0, OUTCOME_VALUE, ())) == [Send(DRIVER, end)]


def test_a_body_is_held_until_its_owner_has_acknowledged_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor_module, "ITEM_BYTES_UNACKED_MAX", 100)
    bench = worker_with("s", returns=STREAMING)
    bench.acks = False
    bench.step(Yielded(S, 0, bytes(100)))
    bench.now_ns += LINE_BUSY_NS
    assert those(bench.step(Yielded(S, 0, b"small")), HoldBody) == [HoldBody(S)]
    assert bench.say(NODE, JobRegistered(JOB, ONE)) == [JobReady(ONE)]
    assert bench.acknowledge(DRIVER) == [ReleaseBody(S)]
    assert bench.acknowledge(DRIVER) == []


def test_a_lone_item_of_any_size_does_not_hold_its_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "ITEM_BYTES_UNACKED_MAX", 100)
    bench = worker_with("s", returns=STREAMING)
    bench.acks = False
    (sent,) = bench.step(Yielded(S, 0, bytes(200)))
    assert isinstance(sent, Send)


def test_a_yield_outside_a_task_is_our_bug() -> None:
    bench = worker_bench()
    with pytest.raises(KeyError):
        bench.machine.step(Yielded(S, 0, b"a"), bench.now_ns)


def test_a_body_that_blocks_gives_its_resources_away() -> None:
    bench = worker_with("a")
    assert bench.step(BodyBlocked(True)) == [Send(NODE, WorkerBlocked(L, True))]


def test_a_driver_runs_nothing() -> None:
    bench = ProcessBench()
    bench.meet("driver")
    assert bench.say(DRIVER, PushTasks(L, 0, (pushed("a"),))) == []
    assert bench.counts == {"PushTasks is not for this process": 1}
    with pytest.raises(KeyError):
        bench.machine.step(Yielded(S, 0, b"a"), bench.now_ns)


def test_a_worker_owns_what_it_submits() -> None:
    bench = worker_with("a")
    assert bench.step(SubmitTask(spec("b"))) == [
        Send(NODE, RequestLease(asked(), JOB, ONE, "b", retriable=False))
    ]


# -- deaths --------------------------------------------------------------------------------------
def test_a_down_is_acted_on_when_the_line_of_the_dead_is_quiet() -> None:
    bench = owner_with("a")
    assert bench.say(NODE, KILLED) == []
    assert bench.closing()
    assert state(bench, "a") is Doing.PUSHED
    done = bench.quiet()
    assert done == [
        CloseConnection(WORKER, 1),
        Send(NODE, ReturnLease(asked(), False)),
        ObjectsReady((result("a"),)),
    ]
    fault = Fault(FaultKind.WORKER_CRASHED, "a", "last words", 42, -1, 9)
    assert bench.process.owner.refs.value_of(result("a")) == fault
    assert not bench.closing()


def test_what_the_dead_reported_last_counts() -> None:
    bench = owner_with("a")
    bench.say(NODE, KILLED)
    bench.step(InboxDrained())
    bench.now_ns += QUIET_LINE_NS
    bench.say(WORKER, TasksDone((outcome("a", b"value"),)))
    assert those(bench.step(InboxDrained()), CloseConnection) == []
    assert bench.process.owner.refs.value_of(result("a")) == b"value"
    assert CloseConnection(WORKER, 1) in bench.quiet()


def test_a_second_down_of_one_life_changes_nothing() -> None:
    bench = owner_with("a", retries=5)
    bench.say(NODE, KILLED)
    assert bench.say(NODE, KILLED) == []
    bench.quiet()
    assert bench.process.owner.tasks.entries[task("a")].attempt == 1
    assert bench.say(NODE, KILLED) == []
    assert bench.process.owner.tasks.entries[task("a")].attempt == 1


def test_the_down_of_whom_there_is_no_line_fences_it_at_once() -> None:
    bench = ProcessBench()
    assert bench.say(NODE, KILLED) == []
    assert not bench.closing()
    assert bench.process.session.is_fenced(WORKER, 1)


def test_the_node_alone_has_a_process_read_its_keys_again() -> None:
    bench = ProcessBench()
    assert bench.say(NODE, KeysChanged(1)) == [Rekey()]
    bench.meet("stranger")
    assert bench.say(peer("stranger"), KeysChanged(1)) == []
    assert bench.counts == {"KeysChanged is not for this process": 1}


def test_a_down_by_a_stranger_is_refused() -> None:
    bench = owner_with("a")
    bench.meet("driver")
    assert bench.say(DRIVER, KILLED) == []
    assert bench.counts == {"a DOWN by a stranger": 1}
    assert not bench.closing()


def test_a_worker_that_says_goodbye_is_gone_at_once_and_what_it_had_runs_elsewhere() -> None:
    bench = owner_with("a", retries=1)
    done = bench.goodbye(WORKER)
    assert Send(NODE, ReturnLease(asked(), False)) in done
    assert state(bench, "a") is Doing.WAITING_RETRY
    assert bench.say(NODE, KILLED) == [], "the node's word comes second"


def test_what_certainly_never_left_runs_elsewhere_at_no_cost() -> None:
    bench = ProcessBench()
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    bench.step(SubmitTask(spec("a")))
    bench.say(NODE, GRANT)
    bench.step(ProcessExited(WORKER, 1, "killed"))
    done = bench.quiet()
    assert Send(NODE, RequestLease(asked(2), JOB, ONE, "a", retriable=False)) in done
    assert state(bench, "a") is Doing.WAITING_LEASE
    assert bench.process.owner.tasks.entries[task("a")].attempt == 0


def test_a_newer_life_ends_the_wait_for_the_older_one_and_keeps_what_the_node_said() -> None:
    bench = owner_with("a")
    bench.say(NODE, KILLED)
    bench.meet("worker", incarnation=2)
    value = bench.process.owner.refs.value_of(result("a"))
    assert value == Fault(FaultKind.WORKER_CRASHED, "a", "last words", 42, -1, 9)
    assert not bench.closing()
    assert bench.quiet() == []


def test_when_the_node_dies_a_driver_goes_on_and_a_worker_ends() -> None:
    for executes in (False, True):
        bench = ProcessBench(executes=executes)
        bench.step(SubmitTask(spec("a")))
        bench.step(ProcessExited(NODE, 1, "killed"))
        done = bench.quiet()
        assert NodeLost(NODE, "killed") in done
        assert (Exit(f"node {NODE[:4].hex()} is gone: killed") in done) == executes
        assert bench.process.owner.refs.value_of(result("a")) is not None
        assert bench.step(ProcessExited(NODE, 1, "killed")) == []


def test_a_worker_reports_nothing_to_an_owner_that_left() -> None:
    bench = worker_with("s", returns=STREAMING)
    assert bench.goodbye(DRIVER) == [CloseConnection(DRIVER, 1)]
    assert bench.step(Yielded(S, 0, b"a")) == []
    assert bench.step(TaskEnded(S, 0, OUTCOME_VALUE, ())) == []
    assert bench.counts == {"sent to nobody": 1}


# -- connections, leaving, nonsense --------------------------------------------------------------
def test_a_lost_connection_is_dialled_again() -> None:
    bench = owner_with("a")
    watch = Send(NODE, WatchProcess(WORKER, 1))
    assert bench.step(ConnectionLost(WORKER, 1)) == [CloseConnection(WORKER, 1), watch]
    assert OpenConnection(WORKER, "ipc://worker", 2) in bench.advance(10 * MS)
    assert bench.epoch(WORKER) == 2


def test_who_leaves_says_goodbye() -> None:
    bench = ProcessBench()
    assert bench.step(Leave("done")) == [Left()]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([b"\xc1"], "body is not msgpack: FormatError"),
        ([b"\x91\xcd\x7f\xff"], "unknown kind 32767"),
    ],
)
def test_nonsense_is_counted_and_the_line_goes_on(body: list[bytes], reason: str) -> None:
    bench = owner_with("a")
    assert bench.say_frames(WORKER, body) == []
    assert bench.counts == {reason: 1}
    bench.say_frames(WORKER, body)
    assert bench.counts == {reason: 2}
    assert bench.say(WORKER, TasksDone((outcome("a", b"value"),))) != []


def test_frames_that_are_not_of_the_protocol_are_counted() -> None:
    bench = ProcessBench()
    assert bench.step(Arrived(b"x", [])) == []
    assert bench.step(Arrived(b"x", [b"short"])) == []
    assert bench.counts == {"no header": 1, "a header has 20 bytes, got 5": 1}


def test_a_timer_that_is_early_changes_nothing() -> None:
    for executes in (False, True):
        bench = ProcessBench(executes=executes)
        assert bench.step(TimerDue()) == []


def test_deadlines_of_all_parts_are_kept() -> None:
    bench = worker_with("a", "b")
    due_ns = bench.due()
    assert due_ns is not None
    effects: list[Effect] = bench.advance(TASK_LONG_NS)
    assert [type(e.message).__name__ for e in effects if isinstance(e, Send)] == ["TasksReturned"]


def test_a_worker_that_runs_nothing_is_not_to_be_ended_while_it_has_tasks() -> None:
    bench = worker_with("t")
    bench.step(DefineTaskFunction(FUNCTION, PAYLOAD))
    bench.step(SubmitTask(spec("child")))
    done = bench.step(TaskEnded(task("t"), 0, OUTCOME_VALUE, (b"value",)))
    assert Send(NODE, KeepWorker(True)) in done
    bench.step(Dropped((result("child"),), ()))
    bench.say(DRIVER, PushTasks(L, 1, (pushed("u"),)))
    bench.meet("worker")
    bench.say(NODE, GRANT)
    done = bench.say(WORKER, TasksDone((outcome("child", b"value"),)))
    assert those(done, Send) == [], "it runs something"
    done = bench.step(TaskEnded(task("u"), 0, OUTCOME_VALUE, (b"value",)))
    assert Send(NODE, KeepWorker(False)) in done


def test_a_death_is_acted_on_though_others_never_leave_the_inbox_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "PASSED_COUNT_MIN", 2)
    bench = owner_with("a")
    bench.say(NODE, KILLED)
    words = [NodeReport(number, "") for number in range(8)]
    assert ObjectsReady((result("a"),)) not in bench.say(NODE, *words)
    bench.now_ns += QUIET_LINE_NS
    assert ObjectsReady((result("a"),)) in bench.say(NODE, *words)
