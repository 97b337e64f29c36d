import pytest

from tests.unit.node.fakes import DRIVER, JOB, NO_LEASE, NODE, SIGKILL, Bench, ask, cpu, lease, peer
from zgen.core.effects import CloseConnection, Effect, Report, Send
from zgen.core.events import Arrived, ConnectionLost, ConnectionUp, InboxDrained
from zgen.core.node_effects import FlushLines, UnwatchProcess
from zgen.ids import derive_worker_id
from zgen.limits import QUIET_LINE_NS, REDIALS_FAILED_MAX, SECOND
from zgen.wire.codec import FLAG_BODY, encode_header
from zgen.wire.lease import JobRegistered, ProcessDown, QueryNode, RegisterJob

TOOL = peer("tool")
WORKER = derive_worker_id(NODE, 1)
DOWN = ProcessDown(WORKER, 1, 100, -1, SIGKILL, "last words", lease("a"), 2)


def leased(cpus: float = 1) -> Bench:
    """A node whose worker serves the driver."""
    bench = Bench(cpus=cpus)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    bench.start(WORKER)
    return bench


def kill(bench: Bench) -> list[Effect]:
    return bench.die(WORKER, log_tail="last words", under=lease("a"), started=2)


def messages(effects: list[Effect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def test_a_down_is_told_at_once_and_the_dead_forgotten_when_their_line_is_quiet() -> None:
    bench = leased()
    assert messages(kill(bench)) == [DOWN]
    assert bench.closing()
    assert bench.machine.session.knows(WORKER)
    assert messages(bench.quiet()) == []
    assert bench.states() == []
    assert not bench.machine.session.knows(WORKER)
    assert bench.machine.session.is_fenced(WORKER, 1)
    assert not bench.closing()


def test_what_the_dead_still_say_is_dropped_and_keeps_their_line() -> None:
    bench = leased()
    kill(bench)
    bench.step(InboxDrained())
    bench.say(WORKER, ask("late"))
    assert bench.machine.leases.get(lease("late")) is None
    bench.now_ns += QUIET_LINE_NS
    bench.step(InboxDrained())
    assert bench.machine.session.knows(WORKER)
    bench.quiet()
    assert not bench.machine.session.knows(WORKER)


def test_a_down_without_a_line_is_told_at_once() -> None:
    bench = Bench(cpus=1)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    bench.die(WORKER)
    assert bench.machine.pool.get(WORKER) is None
    assert bench.machine.session.is_fenced(WORKER, 1)


def test_the_hello_of_a_dead_worker_is_refused() -> None:
    bench = leased()
    kill(bench)
    bench.quiet()
    epoch = bench._epochs[WORKER]
    done = bench.join(WORKER)
    assert [type(effect) for effect in done] == [Report]
    assert bench.counts["frames refused"] == 1
    assert epoch == bench._epochs[WORKER]


def test_a_watcher_that_has_no_line_any_more_is_not_told() -> None:
    bench = leased()
    bench.leave(DRIVER)
    bench.die(WORKER)
    assert messages(bench.quiet()) == []


def test_the_dead_are_not_told_of_others_while_their_own_line_falls_quiet() -> None:
    bench = leased(cpus=2)
    other = derive_worker_id(NODE, 2)
    bench.say(WORKER, ask("nested"))
    bench.start(other, pid=101)
    bench.leave(other)
    kill(bench)
    done = bench.die(other, pid=101)
    assert [type(effect) for effect in done if isinstance(effect, Send)] == []


def test_a_driver_that_dies_is_told_to_whom_it_used() -> None:
    bench = Bench(cpus=2)
    bench.drive()
    bench.say(DRIVER, ask("a"))
    bench.start(WORKER)
    bench.machine._peers.monitors.add(TOOL, DRIVER)
    bench.join(TOOL)
    done = bench.leave(DRIVER)
    down = ProcessDown(DRIVER, 1, 77, -1, 0, "left: done", NO_LEASE, 0)
    assert [effect.peer for effect in done if isinstance(effect, Send)] == [WORKER, TOOL]
    assert messages(done) == [down, down]


def test_a_tool_that_was_killed_is_forgotten_after_so_many_failed_dials() -> None:
    bench = Bench()
    bench.join(TOOL)
    for _ in range(REDIALS_FAILED_MAX - 1):
        bench.step(ConnectionLost(TOOL, bench._epochs[TOOL]))
        bench.advance(2 * SECOND)
    epoch = bench._epochs[TOOL]
    assert epoch == REDIALS_FAILED_MAX
    assert bench.machine.session.knows(TOOL)
    done = bench.step(ConnectionLost(TOOL, epoch))
    assert done == [CloseConnection(TOOL, epoch), CloseConnection(TOOL, epoch)]
    assert not bench.machine.session.knows(TOOL)
    assert bench.machine._peers._redials == {}
    bench.advance(10 * SECOND)
    assert bench._epochs[TOOL] == epoch


def test_a_dial_that_succeeds_forgives_the_failed_ones() -> None:
    bench = Bench()
    bench.join(TOOL)
    for _ in range(2 * REDIALS_FAILED_MAX):
        bench.step(ConnectionLost(TOOL, bench._epochs[TOOL]))
        bench.advance(2 * SECOND)
        bench.step(ConnectionUp(TOOL, bench._epochs[TOOL]))
    assert bench.machine.session.knows(TOOL)


@pytest.mark.parametrize("name", [DRIVER, WORKER])
def test_drivers_and_workers_are_dialled_until_they_are_dead(name: bytes) -> None:
    bench = leased()
    known = DRIVER if name == DRIVER else WORKER
    for _ in range(2 * REDIALS_FAILED_MAX):
        bench.step(ConnectionLost(known, bench._epochs[known]))
        bench.advance(2 * SECOND)
    assert bench.machine.session.knows(known)


def test_failed_dials_before_the_registration_do_not_count_after_it() -> None:
    bench = Bench()
    bench.join(DRIVER)
    bench.step(ConnectionLost(DRIVER, bench._epochs[DRIVER]))
    assert bench.machine._peers._redials == {DRIVER: 1}
    bench.say(DRIVER, RegisterJob(JOB, 77, (), "", ()))
    assert bench.machine._peers._redials == {}


def test_a_tool_that_leaves_takes_its_failed_dials_along() -> None:
    bench = Bench()
    bench.join(TOOL)
    bench.step(ConnectionLost(TOOL, bench._epochs[TOOL]))
    bench.leave(TOOL)
    assert bench.machine._peers._redials == {}
    assert not bench.machine.session.knows(TOOL)


def test_a_newer_life_of_a_driver_ends_the_old_one() -> None:
    bench = leased()
    done = bench.join(DRIVER, incarnation=2)
    assert UnwatchProcess(DRIVER, 1) in done
    assert bench.machine.jobs.get(JOB) is None
    assert bench.machine.session.address_of(DRIVER).incarnation == 2
    assert messages(bench.say(DRIVER, RegisterJob(JOB, 78, (), "", ()))) == [
        JobRegistered(JOB, cpu(1))
    ]


def test_a_newer_life_of_a_dead_worker_buries_it_at_once() -> None:
    bench = leased()
    assert messages(kill(bench)) == [DOWN]
    assert messages(bench.join(WORKER, incarnation=2)) == []
    assert bench.states() == []
    assert messages(bench.quiet()) == []


def test_what_is_no_message_is_counted_and_harms_nothing() -> None:
    bench = leased()
    bench.step(Arrived(b"nobody", []))
    bench.step(Arrived(b"nobody", [b"short"]))
    bench.step(Arrived(b"nobody", [encode_header(FLAG_BODY, 1, 0), b"x"]))
    bench.say_frames(DRIVER, [b"\xff"])
    bench.say(DRIVER, JobRegistered(JOB, ()))
    assert bench.counts == {
        "frames refused": 2,
        "data before hello": 1,
        "malformed message": 1,
        "unexpected message": 1,
    }
    assert bench.say(DRIVER, QueryNode(1)) == [FlushLines((WORKER,), DRIVER, 1)]


def test_refusals_are_reported_ever_more_rarely_and_in_few_words() -> None:
    bench = Bench()
    out: list[Effect] = []
    for _ in range(9):
        bench.machine._peers.refuse("nonsense", "x" * 1_000, out)
    assert out == [Report("warning", f"nonsense ({count}): {'x' * 200}") for count in (1, 2, 4, 8)]
