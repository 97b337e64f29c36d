import json

import pytest

from tests.unit.node.fakes import (
    DRIVER,
    JOB,
    NO_LEASE,
    NODE,
    REGISTER,
    SIGKILL,
    Bench,
    ask,
    cpu,
    job,
    lease,
    peer,
)
from zgen.core import session as session_module
from zgen.core.effects import Effect, Left, Report, Send
from zgen.core.events import (
    InboxDrained,
    Join,
    Leave,
    LinesFlushed,
    ProcessExited,
    WorkerPrinted,
    WorkerSpawned,
)
from zgen.core.node_effects import (
    FlushLines,
    JobKnown,
    JobOver,
    KillWorker,
    SpawnWorker,
    UnwatchProcess,
    WatchProcess,
)
from zgen.ids import PeerId, derive_worker_id
from zgen.limits import (
    FLUSH_AT_EXIT_NS,
    LOG_BACKLOG_BYTES_MAX,
    MS,
    QUIET_LINE_NS,
    SECOND,
    WORKER_IDLE_NS,
)
from zgen.wire import object as said_of
from zgen.wire.codec import decode
from zgen.wire.lease import (
    EndJob,
    JobRegistered,
    LeaseGranted,
    LeaseRefused,
    LeaseWaiting,
    LeaseWanted,
    LogLines,
    NodeReport,
    ProcessDown,
    QueryNode,
    RegisterJob,
    ReturnLease,
    WorkerBlocked,
    WorkerReady,
)
from zgen.wire.object import KeepWorker
from zgen_node.limits import ORPHAN_CLOSE_NS

OTHER_DRIVER, TOOL = peer("other driver"), peer("tool")
OTHER = job("other")
FIRST, SECOND_WORKER = (derive_worker_id(NODE, index) for index in (1, 2))


def leased(cpus: float = 1) -> Bench:
    """A node whose first worker serves lease "a" of the driver."""
    bench = Bench(cpus=cpus)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    bench.start(FIRST)
    return bench


def kinds(effects: list[Effect]) -> list[tuple[PeerId, type]]:
    return [(effect.peer, type(effect.message)) for effect in effects if isinstance(effect, Send)]


def messages(effects: list[Effect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


# -- jobs ------------------------------------------------------------------------------------------
def test_a_driver_is_watched_and_told_what_the_node_has() -> None:
    bench = Bench(cpus=2)
    bench.join(DRIVER)
    assert bench.say(DRIVER, REGISTER) == [
        JobKnown(JOB, ("lib",), "folder", (("A", "b"),)),
        WatchProcess(DRIVER, 1, 77),
        Send(DRIVER, JobRegistered(JOB, cpu(2))),
    ]


def test_a_repeated_registration_is_answered_and_changes_nothing() -> None:
    bench = Bench(cpus=2, prestart=True)
    bench.drive()
    assert bench.say(DRIVER, REGISTER) == [Send(DRIVER, JobRegistered(JOB, cpu(2)))]


def test_the_job_of_another_driver_cannot_be_registered_or_ended() -> None:
    bench = Bench()
    bench.drive()
    bench.join(OTHER_DRIVER)
    assert messages(bench.say(OTHER_DRIVER, REGISTER, EndJob(JOB))) == []
    assert bench.counts == {"job of another driver": 1, "end of another's job": 1}
    assert bench.machine.jobs.get(JOB) is not None


def test_a_driver_registers_one_job_and_a_worker_none() -> None:
    bench = leased()
    second = RegisterJob(OTHER, 77, (), "", ())
    assert messages(bench.say(DRIVER, second) + bench.say(FIRST, second)) == []
    assert bench.counts == {"registration by no new driver": 2}


def test_a_driver_that_ended_its_job_may_register_the_next() -> None:
    bench = Bench()
    bench.drive()
    assert bench.say(DRIVER, EndJob(JOB)) == [JobOver(JOB), UnwatchProcess(DRIVER, 1)]
    done = bench.say(DRIVER, RegisterJob(OTHER, 77, (), "", ()))
    assert messages(done) == [JobRegistered(OTHER, cpu(2))]


def test_a_driver_that_dies_takes_its_job_along_at_once() -> None:
    bench = leased()
    bench.say(DRIVER, ask("b"))
    done = bench.step(ProcessExited(DRIVER, 1, "killed"))
    assert done[0] == JobOver(JOB)
    assert kinds(done) == [(FIRST, ProcessDown)]
    assert bench.free == cpu(1)
    assert bench.machine.leases.all() == []
    assert bench.machine.session.knows(DRIVER)
    bench.quiet()
    assert not bench.machine.session.knows(DRIVER)


def test_a_worker_that_does_not_end_itself_when_its_owner_died_is_killed_after_a_grace() -> None:
    bench = leased()
    assert KillWorker(FIRST) not in bench.step(ProcessExited(DRIVER, 1, "killed"))
    assert KillWorker(FIRST) not in bench.advance(ORPHAN_CLOSE_NS - 1)
    assert KillWorker(FIRST) in bench.advance(1)
    assert KillWorker(FIRST) not in bench.advance(2 * ORPHAN_CLOSE_NS)
    bench.die(FIRST)


def test_a_worker_that_ends_itself_when_its_owner_died_is_not_warned_of() -> None:
    bench = leased()
    bench.step(ProcessExited(DRIVER, 1, "killed"))
    done = bench.die(FIRST)
    assert not [each for each in done if isinstance(each, Report)]
    assert KillWorker(FIRST) not in bench.advance(2 * ORPHAN_CLOSE_NS)


def test_a_worker_that_is_to_end_already_gets_no_grace() -> None:
    bench = leased()
    worker = bench.machine.pool.get(FIRST)
    assert worker is not None
    bench.machine.pool.kill(worker, "memory ran out", [])
    bench.step(ProcessExited(DRIVER, 1, "killed"))
    assert not worker.is_closing
    assert KillWorker(FIRST) not in bench.advance(2 * ORPHAN_CLOSE_NS)


def test_a_worker_in_its_grace_is_killed_at_once_for_another_cause_and_once() -> None:
    bench = leased()
    bench.step(ProcessExited(DRIVER, 1, "killed"))
    worker = bench.machine.pool.get(FIRST)
    assert worker is not None
    out: list[Effect] = []
    bench.machine.pool.kill(worker, "memory ran out", out)
    bench.machine.pool.kill(worker, "idle", out)
    assert out == [KillWorker(FIRST)]
    assert KillWorker(FIRST) not in bench.advance(2 * ORPHAN_CLOSE_NS)


def test_a_dead_driver_that_still_speaks_is_not_heard() -> None:
    bench = leased()
    bench.step(ProcessExited(DRIVER, 1, "killed"))
    bench.say(DRIVER, REGISTER)
    assert bench.machine.jobs.get(JOB) is None


def test_a_driver_that_says_goodbye_is_as_good_as_dead() -> None:
    bench = leased()
    done = bench.leave(DRIVER)
    assert done[1:4] == [KillWorker(FIRST), JobOver(JOB), UnwatchProcess(DRIVER, 1)]
    assert bench.free == cpu(1)


def test_the_exit_of_an_older_life_or_of_a_stranger_changes_nothing() -> None:
    bench = Bench()
    bench.join(DRIVER, incarnation=2)
    bench.say(DRIVER, REGISTER)
    assert bench.step(ProcessExited(DRIVER, 1, "killed")) == []
    assert bench.step(ProcessExited(TOOL, 1, "killed")) == []
    assert bench.machine.jobs.get(JOB) is not None


# -- leases ----------------------------------------------------------------------------------------
def test_a_repeated_request_changes_nothing() -> None:
    bench = leased()
    granted = Send(DRIVER, LeaseGranted(lease("a"), bench.addresses[FIRST], 100))
    assert bench.say(DRIVER, ask("a")) == [granted]
    bench.say(DRIVER, ask("b"))
    assert bench.say(DRIVER, ask("b")) == []
    assert bench.free == (("CPU", 0),)


def test_only_the_owner_of_a_lease_may_return_or_repeat_it() -> None:
    bench = leased()
    bench.drive(OTHER_DRIVER, OTHER)
    returned = ReturnLease(lease("a"), True)
    assert messages(bench.say(OTHER_DRIVER, ask("a", of=OTHER), returned)) == []
    assert bench.counts == {"request under another's lease": 1, "return of another's lease": 1}
    assert bench.states() == ["leased"]


def test_only_the_driver_and_the_workers_of_a_job_ask_for_its_work() -> None:
    bench = leased(cpus=4)
    bench.drive(OTHER_DRIVER, OTHER)
    assert messages(bench.say(OTHER_DRIVER, ask("b"))) == []
    assert messages(bench.say(FIRST, ask("c", of=OTHER))) == []
    assert bench.counts == {
        "request by a stranger": 1,
        "request by a worker of no such job": 1,
    }
    assert bench.say(FIRST, ask("d")) == [SpawnWorker(SECOND_WORKER, JOB)]


def test_a_request_that_can_not_be_kept_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.join(DRIVER)
    unknown = LeaseRefused(lease("a"), "this node does not know the job")
    assert messages(bench.say(DRIVER, ask("a"))) == [unknown]
    bench.say(DRIVER, REGISTER)
    [odd] = messages(bench.say(DRIVER, ask("b", (("CPU", -1),))))
    assert odd == LeaseRefused(lease("b"), "a shape's amounts are positive")
    monkeypatch.setattr("zgen_node.core.node.LEASES_COUNT_MAX", 1)
    bench.say(DRIVER, ask("c"))
    [full] = messages(bench.say(DRIVER, ask("d")))
    assert full == LeaseRefused(lease("d"), "this node has 1 requests already")


def test_what_can_never_be_met_says_so_at_once() -> None:
    bench = Bench(cpus=2)
    bench.drive()
    never = LeaseWaiting(lease("a"), False, "needs num_cpus=8, this node has 2")
    assert bench.say(DRIVER, ask("a", cpu(8))) == [Send(DRIVER, never)]
    assert bench.advance(3 * SECOND) == [Send(DRIVER, never)]


def test_owners_are_asked_for_what_idles_when_another_waits() -> None:
    bench = leased()
    bench.drive(OTHER_DRIVER, OTHER)
    assert bench.say(OTHER_DRIVER, ask("b", of=OTHER)) == [Send(DRIVER, LeaseWanted(lease("a")))]
    assert bench.say(DRIVER, ReturnLease(lease("a"), True)) == [SpawnWorker(SECOND_WORKER, OTHER)]


def test_a_returned_lease_that_is_over_is_no_fault() -> None:
    bench = leased()
    assert bench.say(DRIVER, ReturnLease(lease("x"), True)) == []
    assert bench.counts == {}


def test_a_queued_request_can_be_withdrawn() -> None:
    bench = leased()
    bench.say(DRIVER, ask("b"), ReturnLease(lease("b"), True))
    assert [made.lease for made in bench.machine.leases.all()] == [lease("a")]


def test_a_starting_worker_whose_request_was_withdrawn_idles() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask("a"), ReturnLease(lease("a"), True))
    assert bench.free == cpu(1)
    assert messages(bench.start(FIRST)) == []
    assert bench.states() == ["idle"]


def test_a_blocked_worker_lets_another_be_served() -> None:
    bench = leased()
    bench.say(DRIVER, ask("b"))
    assert bench.say(FIRST, WorkerBlocked(lease("a"), True)) == [SpawnWorker(SECOND_WORKER, JOB)]
    bench.start(SECOND_WORKER)
    assert bench.say(FIRST, WorkerBlocked(lease("a"), False)) == []
    assert bench.free == (("CPU", -10_000),)
    bench.say(DRIVER, ask("c"))
    assert messages(bench.say(DRIVER, ReturnLease(lease("b"), True))) == []
    assert len(messages(bench.say(DRIVER, ReturnLease(lease("a"), True)))) == 1


def test_a_blocked_worker_that_is_returned_ends() -> None:
    bench = leased()
    bench.say(FIRST, WorkerBlocked(lease("a"), True))
    assert bench.say(DRIVER, ReturnLease(lease("a"), True)) == [KillWorker(FIRST)]
    assert bench.free == cpu(1)


def test_word_about_an_older_lease_changes_nothing() -> None:
    bench = leased()
    bench.say(DRIVER, ask("b"), ReturnLease(lease("a"), True))
    assert bench.say(FIRST, WorkerBlocked(lease("a"), True)) == []
    assert bench.free == (("CPU", 0),)


def test_a_repeated_word_of_a_worker_changes_nothing() -> None:
    bench = leased()
    blocked = WorkerBlocked(lease("a"), True)
    assert bench.say(FIRST, WorkerReady(100), blocked, blocked, WorkerReady(100)) == []
    assert bench.free == cpu(1)
    assert bench.states() == ["leased"]


def test_a_worker_speaks_for_its_own_lease_only() -> None:
    bench = leased(cpus=2)
    bench.say(DRIVER, ask("b"))
    bench.start(SECOND_WORKER)
    assert bench.say(SECOND_WORKER, WorkerBlocked(lease("a"), True)) == []
    assert bench.free == (("CPU", 0),)


def test_nobody_else_speaks_as_a_worker() -> None:
    bench = leased()
    bench.say(DRIVER, WorkerBlocked(lease("a"), True), WorkerReady(1))
    assert bench.counts == {"word of a worker that nobody started": 2}
    assert bench.free == (("CPU", 0),)


# -- deaths ----------------------------------------------------------------------------------------
def test_an_owner_learns_of_the_death_of_a_worker_that_it_returned() -> None:
    bench = leased()
    bench.say(DRIVER, ReturnLease(lease("a"), True))
    down = ProcessDown(FIRST, 1, 100, -1, SIGKILL, "", lease("a"), 3)
    assert Send(DRIVER, down) in bench.die(FIRST, under=lease("a"), started=3)


def test_the_death_of_an_owner_ends_what_it_asked_for_and_who_served_it() -> None:
    bench = leased(cpus=3)
    bench.say(FIRST, ask("nested"), ask("queued", cpu(3)))
    bench.start(SECOND_WORKER, pid=101)
    done = bench.die(FIRST)
    assert KillWorker(SECOND_WORKER) not in done
    assert bench.free == cpu(3)
    assert bench.machine.leases.all() == []
    told = [(effect.peer, effect.message) for effect in done if isinstance(effect, Send)]
    down = ProcessDown(FIRST, 1, 100, -1, SIGKILL, "", NO_LEASE, 0)
    assert told == [(DRIVER, down), (SECOND_WORKER, down)]
    assert KillWorker(SECOND_WORKER) in bench.advance(ORPHAN_CLOSE_NS)


def test_a_worker_that_leaves_on_its_own_is_ended() -> None:
    bench = leased(cpus=2)
    bench.say(FIRST, ask("nested"))
    assert KillWorker(FIRST) in bench.leave(FIRST)
    assert [made.lease for made in bench.machine.leases.all()] == [lease("a")]
    assert bench.say(DRIVER, ask("a")) == []
    assert bench.say(DRIVER, ReturnLease(lease("a"), True)) == []
    assert bench.free == cpu(2)
    done = bench.die(FIRST)
    assert [type(message) for message in messages(done)] == [ProcessDown]
    assert bench.machine.pool.get(FIRST) is None


def test_a_death_is_reported_once() -> None:
    bench = leased()
    bench.die(FIRST)
    assert bench.die(FIRST) == []
    bench.quiet()
    assert bench.die(FIRST) == []
    assert bench.step(WorkerSpawned(FIRST, 5)) == []


# -- output ----------------------------------------------------------------------------------------
def test_what_a_worker_prints_goes_to_its_driver() -> None:
    bench = leased()
    assert bench.step(WorkerPrinted(FIRST, True, ("one", "two"), 3)) == [
        Send(DRIVER, LogLines(100, True, ("one", "two"), 3))
    ]


def test_lines_for_a_slow_driver_are_dropped_and_counted() -> None:
    bench = leased()
    # One connection stays down, so that nothing is acknowledged.
    session = bench.machine.session
    session._lines[DRIVER].up = False
    half = "x" * (LOG_BACKLOG_BYTES_MAX // 2 + 1)
    bench.step(WorkerPrinted(FIRST, False, (half,), 0))
    bench.step(WorkerPrinted(FIRST, False, (half, "y"), 5))
    bench.step(WorkerPrinted(FIRST, False, ("small",), 0))
    lines = [decode(kept.frames) for kept in session._lines[DRIVER].kept]
    assert lines == [LogLines(100, False, (half,), 0), LogLines(100, False, ("small",), 7)]
    assert session.item_bytes_unacked(DRIVER) == len(half) + len("small")


def test_a_burst_larger_than_the_bound_goes_alone() -> None:
    bench = leased()
    burst = ("x" * (LOG_BACKLOG_BYTES_MAX + 1),)
    assert messages(bench.step(WorkerPrinted(FIRST, False, burst, 0))) == [
        LogLines(100, False, burst, 0)
    ]


def test_lines_of_an_unknown_worker_or_of_a_job_that_is_over_go_nowhere() -> None:
    bench = leased()
    assert bench.step(WorkerPrinted(SECOND_WORKER, False, ("lost",), 0)) == []
    bench.say(DRIVER, EndJob(JOB))
    assert bench.step(WorkerPrinted(FIRST, False, ("lost",), 0)) == []


def test_a_driver_is_answered_behind_all_that_its_workers_printed() -> None:
    bench = leased()
    assert bench.say(DRIVER, QueryNode(9)) == [FlushLines((FIRST,), DRIVER, 9)]
    [lines] = messages(bench.step(WorkerPrinted(FIRST, False, ("no end",), 0)))
    assert lines == LogLines(100, False, ("no end",), 0)
    [answer] = messages(bench.step(LinesFlushed(DRIVER, 9)))
    assert isinstance(answer, NodeReport)
    assert answer.query == 9


# -- the rest --------------------------------------------------------------------------------------
def test_a_tool_is_told_the_state_of_everything() -> None:
    bench = leased(cpus=1.5)
    bench.say(DRIVER, ask("b"))
    bench.now_ns += 5 * MS
    bench.join(TOOL)
    [answer] = messages(bench.say(TOOL, QueryNode(9)))
    assert isinstance(answer, NodeReport)
    assert answer.query == 9
    state = json.loads(answer.state)
    assert (state["node"], state["incarnation"]) == (NODE.hex(), 1)
    assert state["total"] == {"CPU": "1.5"}
    assert state["free"] == {"CPU": "0.5"}
    assert state["jobs"] == [
        {"job": JOB.hex(), "driver": DRIVER.hex(), "pid": 77, "age_ms": 5, "failed_starts": 0}
    ]
    assert state["workers"] == [
        {
            "worker": FIRST.hex(),
            "pid": 100,
            "state": "leased",
            "ending": "",
            "job": JOB.hex(),
            "lease": lease("a").hex(),
            "age_ms": 5,
        }
    ]
    assert [(made["lease"], made["worker"]) for made in state["leases"]] == [
        (lease("a").hex(), FIRST.hex()),
        (lease("b").hex(), None),
    ]
    waiting = state["leases"][1]
    assert waiting["waits_for"] == "needs num_cpus=1, 0.5 of 1.5 free"
    assert (waiting["what"], waiting["age_ms"]) == ("work b", 5)
    assert state["counts"] == {}


def test_whoever_asks_is_told_of_a_death_once_and_at_once_if_it_was_before() -> None:
    bench = leased()
    assert bench.say(DRIVER, said_of.WatchProcess(FIRST, 1)) == []
    assert bench.say(FIRST, said_of.WatchProcess(DRIVER, 1)) == []
    for process, incarnation in ((OTHER_DRIVER, 3), (DRIVER, 2)):
        told = bench.say(FIRST, said_of.WatchProcess(process, incarnation))
        dead = ProcessDown(process, incarnation, 0, -1, 0, "it was dead already", NO_LEASE, 0)
        assert told == [Send(FIRST, dead)]


def test_an_idle_worker_that_lends_is_not_ended() -> None:
    bench = leased()
    bench.say(FIRST, KeepWorker(True))
    bench.join(TOOL)
    bench.say(TOOL, KeepWorker(True))  # not a worker
    bench.say(DRIVER, ReturnLease(lease("a"), True))
    assert KillWorker(FIRST) not in bench.advance(3 * WORKER_IDLE_NS)
    bench.say(FIRST, KeepWorker(False))
    assert KillWorker(FIRST) in bench.advance(2 * WORKER_IDLE_NS)


def test_the_dead_are_forgotten_though_others_never_leave_the_inbox_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "PASSED_COUNT_MIN", 2)
    bench = leased()
    bench.die(FIRST)
    for _ in range(7):
        bench.say(DRIVER, ReturnLease(lease("none"), True))
        assert bench.machine.session.knows(FIRST)
        bench.now_ns += QUIET_LINE_NS
    for _ in range(8):
        bench.say(DRIVER, ReturnLease(lease("none"), True))
    assert not bench.machine.session.knows(FIRST)


def test_a_node_that_leaves_serves_nobody_any_more() -> None:
    bench = leased(cpus=2)
    done = bench.step(Leave("stopped"))
    assert done == [Left()]
    assert bench.say(DRIVER, ask("b")) == []
    assert bench.states() == ["leased"]


def test_a_node_that_leaves_waits_for_acknowledgements_only_so_long() -> None:
    bench = leased()
    bench.machine.session._lines[DRIVER].up = False
    bench.step(WorkerPrinted(FIRST, False, ("line",), 0))
    assert bench.step(Leave("stopped")) == []
    assert Left() in bench.advance(FLUSH_AT_EXIT_NS)


def test_the_next_deadline_is_the_nearest_of_all_tables() -> None:
    bench = Bench(cpus=1)
    assert bench.due_ns is None
    bench.drive()
    bench.advance(SECOND)
    bench.say(DRIVER, ask("a"))
    bench.advance(SECOND)  # the acknowledgement is due first, then the notice, then the start
    assert bench.due_ns == bench.now_ns + 2 * SECOND


def test_a_look_at_an_empty_inbox_without_a_death_is_nothing() -> None:
    bench = leased()
    assert bench.step(InboxDrained()) == []


def test_a_node_is_never_told_what_concerns_owners() -> None:
    bench = Bench()
    with pytest.raises(AssertionError, match="a node is never told"):
        bench.machine.step(Join(bench.machine.session.identity.address, JOB, 1), 0)
