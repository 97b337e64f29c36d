"""A node that is told to drain: what it hands on, what it waits for, and that it goes."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.unit.node.clusters import (
    EAST,
    FAR_DRIVER,
    FIRST,
    WEST,
    Among,
    alone,
    beside,
    far,
    messages,
    placed,
    state,
)
from tests.unit.node.fakes import DRIVER, JOB, NODE, ask, cpu, lease, peer, spawned
from zgen.core.effects import Effect
from zgen.core.events import Leave
from zgen.core.node_effects import Drained, KillWorker
from zgen.ids import JobId, PeerId, StreamId
from zgen.limits import (
    DRAIN_END_NS,
    DRAIN_IDLE_NS,
    MS,
    QUEUE_ELSEWHERE_NS,
    SECOND,
    WORKER_IDLE_NS,
)
from zgen.wire.cluster import DrainNode, ForwardLease, LeaseBack
from zgen.wire.lease import (
    ON_NODE,
    EndJob,
    JobRegistered,
    LeaseWaiting,
    LeaseWanted,
    NodeReport,
    ProcessDown,
    QueryNode,
    ReturnLease,
)
from zgen.wire.object import KeepWorker
from zgen.wire.store import WantRegions
from zgen.wire.transfer import FarRelease
from zgen_node.core.draining import OVERDUE, Phase

TOOL = peer("tool")
PATIENCE_NS = 10 * SECOND


def drain(bench: Among, patience_ns: int = PATIENCE_NS) -> list[Effect]:
    if TOOL not in bench.addresses:
        bench.join(TOOL)
    return bench.say(TOOL, DrainNode(5, patience_ns))


def told(effects: list[Effect]) -> dict[str, object] | None:
    """Return what the tool hears of the leave."""
    (report,) = [each for each in messages(effects, TOOL) if isinstance(each, NodeReport)]
    assert report.query == 5
    found: dict[str, object] | None = json.loads(report.state).get("draining")
    return found


def host(cpus: float = 1) -> Among:
    """A node without drivers, beside another one."""
    bench = Among(cpus=cpus)
    bench.member()
    return bench


def serving() -> Among:
    """A node whose worker serves a driver of another node."""
    bench = host()
    bench.shared()
    bench.start(FIRST)
    return bench


def waits(bench: Among) -> str:
    return bench.machine.draining.waits_for()


def is_over(effects: list[Effect]) -> bool:
    return Drained() in effects


def ends(bench: Among, worker: PeerId = FIRST) -> list[Effect]:
    """Let a worker die and its line be quiet."""
    return bench.die(worker) + bench.quiet()


def test_a_node_with_nothing_to_do_is_drained_at_once_and_says_so_to_nobody_twice() -> None:
    bench = host()
    done = drain(bench)
    assert is_over(done)
    assert told(done) == {"waits_for": "", "left_ms": PATIENCE_NS // MS}
    assert bench.machine.draining.life.state is Phase.DRAINED
    assert not is_over(drain(bench) + bench.advance(2 * PATIENCE_NS))


def test_a_node_that_stays_says_nothing_of_leaving() -> None:
    bench = host()
    bench.join(TOOL)
    assert told(bench.say(TOOL, QueryNode(5))) is None


def test_owners_are_asked_for_what_they_hold_and_the_idle_end_soon() -> None:
    bench = serving()
    assert LeaseWanted(lease("f"), True) in messages(drain(bench), EAST)
    assert waits(bench) == "1 leases of workers"
    bench.say(EAST, ReturnLease(lease("f"), True))
    assert waits(bench) == ""
    assert KillWorker(FIRST) in bench.advance(DRAIN_IDLE_NS)
    assert DRAIN_IDLE_NS < WORKER_IDLE_NS
    assert is_over(ends(bench))


def test_workers_that_idled_before_end_as_soon() -> None:
    bench = serving()
    bench.say(EAST, ReturnLease(lease("f"), True))
    assert not is_over(drain(bench))
    assert KillWorker(FIRST) in bench.advance(DRAIN_IDLE_NS)
    assert is_over(ends(bench))


def test_a_worker_whose_objects_others_use_keeps_the_node() -> None:
    bench = serving()
    bench.say(FIRST, KeepWorker(True))
    bench.say(EAST, ReturnLease(lease("f"), True))
    drain(bench)
    assert waits(bench) == "1 workers whose objects others use"
    assert KillWorker(FIRST) not in bench.advance(5 * DRAIN_IDLE_NS)
    bench.say(FIRST, KeepWorker(False))
    assert KillWorker(FIRST) in bench.advance(DRAIN_IDLE_NS)


def test_a_worker_that_has_a_lease_elsewhere_keeps_the_node() -> None:
    bench = serving()
    bench.say(FIRST, ask("child", cpu(2)))
    bench.say(EAST, ReturnLease(lease("f"), True))
    drain(bench)
    assert KillWorker(FIRST) not in bench.advance(3 * DRAIN_IDLE_NS)
    bench.say(FIRST, ReturnLease(lease("child"), True))
    assert KillWorker(FIRST) in bench.advance(DRAIN_IDLE_NS)


def test_a_value_in_shared_memory_keeps_the_node_until_its_owner_released_it() -> None:
    bench = serving()
    owner = far(FAR_DRIVER)
    want = WantRegions(
        1, owner.peer, StreamId(bytes(16)), 200_000, 1, owner_node=EAST, owner_life=1
    )
    bench.say(FIRST, want)
    bench.say(EAST, ReturnLease(lease("f"), True))
    drain(bench)
    bench.advance(DRAIN_IDLE_NS)
    assert not is_over(ends(bench))
    assert waits(bench) == "1 values in shared memory"
    region = bench.machine.storage.rooms.objects.all()[0].region
    assert is_over(bench.say(EAST, FarRelease(FAR_DRIVER, (region,), False)))


def test_a_program_keeps_the_node_until_it_ends() -> None:
    bench = alone()
    drain(bench)
    assert waits(bench) == "1 programs"
    assert is_over(bench.say(DRIVER, EndJob(JOB)))


def test_a_program_that_comes_is_let_in_only_while_it_would_be_waited_for() -> None:
    bench = serving()
    drain(bench)
    own, late, later = (JobId(letter * 16) for letter in (b"o", b"l", b"m"))
    (answer,) = messages(bench.drive(DRIVER, own), DRIVER)
    assert isinstance(answer, JobRegistered)
    assert waits(bench) == "1 leases of workers, 1 programs"
    bench.advance(PATIENCE_NS)
    assert bench.machine.draining.life.state is Phase.ENDING
    assert messages(bench.drive(peer("late"), late), peer("late")) == []
    bench.say(DRIVER, EndJob(own))
    assert is_over(ends(bench))
    assert messages(bench.drive(peer("later"), later), peer("later")) == []
    assert waits(bench) == ""


def test_a_program_that_comes_when_the_node_was_stopped_is_not_let_in() -> None:
    bench, late = alone(), peer("late")
    bench.join(late)
    bench.step(Leave("the node was stopped"))
    assert messages(bench.drive_again(late, JobId(b"l" * 16)), late) == []
    assert bench.machine.jobs.of_driver(late) is None


def test_guests_that_wait_go_back_and_later_ones_too() -> None:
    bench = host()
    bench.shared()  # a worker starts for it
    assert messages(drain(bench), EAST) == [LeaseBack(lease("f"), (), 0, True)]
    (back,) = messages(bench.say(EAST, ForwardLease(ask("g"), far(FAR_DRIVER), True)), EAST)
    assert back == LeaseBack(lease("g"), (), 0, True)
    bench.start(FIRST)
    assert KillWorker(FIRST) in bench.advance(DRAIN_IDLE_NS)


def test_what_waits_here_goes_to_other_nodes() -> None:
    own = Among(cpus=1)
    own.drive()
    own.member(state(free=cpu(0)))
    own.say(DRIVER, ask("a"))  # its worker is starting
    own.say(DRIVER, ask("b"))  # waits for it
    drain(own)
    assert [each.feasible for each in own.machine.leases.all()] == [False, False]
    done = own.member(state(version=1))
    assert [e.asked.lease for e in messages(done, EAST) if isinstance(e, ForwardLease)] == [
        lease("a"),
        lease("b"),
    ]


def test_what_no_other_node_could_meet_is_met_here_still() -> None:
    bench = Among(cpus=1)
    bench.drive()
    drain(bench)
    assert spawned(bench.say(DRIVER, ask("a"))) == [FIRST]
    bench.say(DRIVER, ReturnLease(lease("a"), True))
    hard = (ON_NODE, NODE, False, (), ())
    bench.member()
    bench.say(DRIVER, placed("hard", hard))
    assert bench.machine.leases.all()[0].feasible
    (sent,) = messages(bench.say(DRIVER, ask("b")), EAST)[-1:]
    assert isinstance(sent, ForwardLease)


def test_what_waited_for_others_is_met_here_when_they_are_gone_and_not_after_the_end() -> None:
    bench = Among(cpus=1)
    bench.drive()
    bench.member(state(free=cpu(0)))
    drain(bench)
    assert spawned(bench.say(DRIVER, ask("a"))) == []
    assert spawned(bench.gone()) == [FIRST]
    bench.advance(PATIENCE_NS)
    (unmet,) = bench.machine.leases.all()
    assert not unmet.feasible
    assert spawned(bench.say(DRIVER, ask("b"))) == []


def test_what_only_busy_nodes_can_meet_queues_there() -> None:
    bench = Among(cpus=1)
    bench.drive()
    bench.member(state(free=cpu(0)))
    drain(bench)
    bench.say(DRIVER, ask("a"))
    sent = messages(bench.advance(QUEUE_ELSEWHERE_NS), EAST)
    assert [(e.asked.lease, e.queued) for e in sent if isinstance(e, ForwardLease)] == [
        (lease("a"), True)
    ]


def test_who_drains_gets_nothing_from_others_and_who_waits_for_it_is_told() -> None:
    bench = alone()
    bench.member()
    bench.member(replace(state(version=1), draining=True))
    assert messages(bench.forwarded(), EAST) == []
    (waiting,) = [e for e in messages(bench.forwarded("b")) if isinstance(e, LeaseWaiting)]
    assert (waiting.feasible, waiting.reason) == (
        False,
        "needs num_cpus=1: where that is, the node drains",
    )
    assert len(messages(bench.member(state(WEST)), WEST)) == 3  # the job and both


def test_who_hands_a_request_back_since_it_drains_gets_no_other_one() -> None:
    bench = beside()
    bench.forwarded()
    back = LeaseBack(lease("a"), cpu(2), 9, True)
    assert messages(bench.say(EAST, back), EAST) == []
    assert bench.member(state(version=1)) == []  # an older word, on its way for longer
    assert bench.machine.cluster.view.members[EAST].draining
    bench.gone()
    assert bench.say(EAST, back) == []


def test_after_its_time_workers_end_and_are_told_to_have() -> None:
    bench = serving()
    drain(bench)
    assert KillWorker(FIRST) in bench.advance(PATIENCE_NS)
    assert bench.machine.draining.life.state is Phase.ENDING
    done = bench.die(FIRST, log_tail="last words")
    (down,) = [each for each in messages(done, EAST) if isinstance(each, ProcessDown)]
    assert down.log_tail == f"{OVERDUE}\nlast words"
    assert is_over(done)


def test_workers_that_do_not_die_do_not_keep_it() -> None:
    bench = serving()
    drain(bench)
    bench.advance(PATIENCE_NS)
    assert not is_over(bench.advance(DRAIN_END_NS - 1))
    assert is_over(bench.advance(1))


def test_told_again_it_waits_for_another_time() -> None:
    bench = serving()
    drain(bench)
    bench.advance(PATIENCE_NS // 2)
    assert told(drain(bench, PATIENCE_NS)) == {
        "waits_for": "1 leases of workers",
        "left_ms": PATIENCE_NS // MS,
    }
    assert KillWorker(FIRST) not in bench.advance(PATIENCE_NS - 1)
    assert KillWorker(FIRST) in bench.advance(1)
    assert told(drain(bench)) == {
        "waits_for": "1 leases of workers",
        "left_ms": DRAIN_END_NS // MS,
    }
