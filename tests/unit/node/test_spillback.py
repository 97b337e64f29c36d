"""Requests that other nodes meet: forwarded, granted, handed back, returned; and their ends."""

from __future__ import annotations

import pytest

from tests.unit.node.clusters import (
    EAST,
    FAR_DRIVER,
    FAR_WORKER,
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
from tests.unit.node.fakes import DRIVER, JOB, NODE, ask, cpu, job, lease, peer, without
from zgen.core.effects import Report
from zgen.core.events import ProcessExited
from zgen.ids import NO_PEER, LeaseId, PeerId
from zgen.limits import (
    LEASE_BACKS_COUNT_MAX,
    LEASE_WAIT_NOTICE_NS,
    NODE_UNKNOWN_NS,
    QUEUE_ELSEWHERE_NS,
)
from zgen.wire.cluster import ForwardLease, LeaseBack, ShareJob
from zgen.wire.lease import (
    IN,
    ON_NODE,
    SPREAD,
    EndJob,
    LeaseGranted,
    LeaseRefused,
    LeaseWaiting,
    LeaseWanted,
    ProcessDown,
    RequestLease,
    ReturnLease,
    Strategy,
)
from zgen.wire.object import WatchProcess

NO_LEASE = LeaseId(bytes(16))
SOMEWHERE: Strategy = (ON_NODE, WEST, False, (), ())


def kinds(said: list[object]) -> list[str]:
    return [type(one).__name__ for one in said]


def test_what_does_not_fit_here_goes_where_it_fits_behind_its_job() -> None:
    bench = beside()
    said = messages(bench.forwarded(), EAST)
    assert kinds(said) == ["ShareJob", "ForwardLease"]
    share, forward = said
    assert isinstance(share, ShareJob)
    assert (share.job, share.driver.peer, share.driver.node) == (JOB, DRIVER, NODE)
    assert isinstance(forward, ForwardLease)
    assert (forward.asked, forward.owner.peer, forward.queued) == (ask("a"), DRIVER, False)
    assert kinds(messages(bench.forwarded("b"), EAST)) == ["ForwardLease"]  # the job is known
    assert messages(bench.forwarded("c"), EAST) == []  # it has two
    bench.say(DRIVER, ask("a"))  # repeated
    assert len(bench.machine.cluster.spillback.forwards) == 2


def test_a_grant_comes_by_way_of_the_owners_node_and_a_death_too() -> None:
    bench = beside()
    bench.forwarded()
    assert messages(bench.granted(), DRIVER) == [LeaseGranted(lease("a"), far(FAR_WORKER), 9)]
    assert messages(bench.granted()) == []  # repeated
    down = ProcessDown(FAR_WORKER, 1, 9, -1, 9, "words", lease("a"), 3)
    assert messages(bench.say(EAST, down), DRIVER) == [down]
    assert messages(bench.say(EAST, down)) == []  # of nobody who is watched
    assert messages(bench.say(DRIVER, ReturnLease(lease("a"), False))) == []


def test_a_grant_that_nobody_wants_or_of_the_dead_is_passed_to_nobody() -> None:
    bench = beside()
    bench.forwarded()
    stranger = LeaseGranted(lease("a"), far(FAR_WORKER, WEST), 9)
    assert messages(bench.say(EAST, stranger)) == []
    bench.granted()
    bench.say(EAST, ProcessDown(FAR_WORKER, 1, 9, -1, 9, "", NO_LEASE, 0))
    bench.forwarded("b")
    again = messages(bench.granted("b"), EAST)  # its worker is dead: another one is wanted
    assert again == [ReturnLease(lease("b"), False)]
    assert kinds(messages(bench.member(state(version=1)), EAST)) == ["ForwardLease"]
    returned = messages(bench.say(DRIVER, ReturnLease(lease("b"), True)), EAST)
    assert returned == [ReturnLease(lease("b"), True)]
    assert messages(bench.granted("b")) == []


def test_a_process_of_a_node_that_became_known_too_late_stays_dead_and_is_not_waited_for() -> None:
    bench = alone()
    bench.say(DRIVER, WatchProcess(FAR_WORKER, 1, EAST))
    bench.advance(NODE_UNKNOWN_NS)
    bench.member()
    bench.forwarded()
    assert kinds(messages(bench.granted(), EAST)) == ["ReturnLease", "ForwardLease"]


def test_two_leases_of_one_worker_of_another_node_end_with_it() -> None:
    bench = beside()
    bench.forwarded()
    bench.granted()
    bench.say(DRIVER, ReturnLease(lease("a"), True))
    bench.forwarded("b")
    assert messages(bench.granted("b"), DRIVER) != []
    bench.say(EAST, ProcessDown(FAR_WORKER, 1, 9, -1, 9, "", NO_LEASE, 0))
    assert len(bench.machine.cluster.spillback.forwards) == 0


def test_only_the_owner_returns_a_lease_that_is_elsewhere() -> None:
    bench = beside()
    bench.forwarded()
    bench.join(FIRST, 1, NODE)
    bench.say(FIRST, ReturnLease(lease("a"), True))
    assert bench.counts["return of another's lease"] == 1


def test_what_comes_back_goes_again_and_queues_after_some_turns() -> None:
    bench = beside()
    bench.forwarded()
    for turn in range(LEASE_BACKS_COUNT_MAX):
        done = bench.say(EAST, LeaseBack(lease("a"), cpu(2), 0))
        (forward,) = messages(done, EAST)
        assert isinstance(forward, ForwardLease)
        assert forward.queued is (turn + 1 == LEASE_BACKS_COUNT_MAX)
    bench.granted()
    bench.say(EAST, LeaseBack(lease("a"), cpu(2), 0))  # of what it had granted
    assert len(bench.machine.cluster.spillback.forwards) == 1


def test_what_comes_back_says_what_is_free_unless_newer_word_is_known() -> None:
    bench = beside()
    bench.forwarded()
    assert messages(bench.say(EAST, LeaseBack(lease("a"), (), 0)), EAST) == []
    bench.member(state(version=4, free=()))
    bench.say(EAST, LeaseBack(lease("z"), cpu(2), 3))
    bench.say(EAST, LeaseBack(lease("z"), cpu(2), 3))
    assert len(bench.machine.cluster.spillback.forwards) == 0
    assert kinds(messages(bench.member(state(version=5)), EAST)) == ["ForwardLease"]


def test_what_only_others_can_meet_queues_at_one_of_them_after_a_while() -> None:
    bench = beside()
    bench.member(state(free=()))
    assert messages(bench.forwarded(), EAST) == []
    (share, forward) = messages(bench.advance(QUEUE_ELSEWHERE_NS), EAST)
    assert isinstance(share, ShareJob)
    assert isinstance(forward, ForwardLease)
    assert forward.queued


def test_what_this_node_can_meet_queues_here() -> None:
    bench = Among(cpus=1)
    bench.join(DRIVER, 1, NODE)
    bench.drive_again(DRIVER, JOB)
    bench.member(state(free=()))
    bench.say(DRIVER, ask("a"))
    assert messages(bench.say(DRIVER, ask("b")), EAST) == []
    assert messages(bench.advance(QUEUE_ELSEWHERE_NS), EAST) == []
    assert [one.lease for one in bench.machine.leases.queued()] == [lease("b")]


def test_what_is_said_of_a_request_is_passed_on_and_the_refusal_of_the_last_node_ends_it() -> None:
    bench = beside()
    bench.forwarded()
    for word in (LeaseWaiting(lease("a"), True, "busy"), LeaseWanted(lease("a"))):
        assert messages(bench.say(EAST, word), DRIVER) == [word]
    refused = LeaseRefused(lease("a"), "no")
    assert messages(bench.say(EAST, refused), DRIVER) == [refused]
    for late in (refused, LeaseWaiting(lease("a"), True, "busy")):
        assert messages(bench.say(EAST, late)) == []


def test_what_one_node_refuses_goes_to_another_one_and_not_to_it_again() -> None:
    bench = beside()
    bench.member(state(WEST))
    bench.forwarded()
    refused = bench.say(EAST, LeaseRefused(lease("a"), "no workers"))
    assert kinds(messages(refused, WEST)) == ["ShareJob", "ForwardLease"]
    back = bench.say(WEST, LeaseBack(lease("a"), (), 0))
    assert messages(back) == []  # it waits for the other one, though this one has room
    again = bench.member(state(WEST, version=1))
    assert kinds(messages(again, WEST)) == ["ForwardLease"]
    said = messages(bench.say(WEST, LeaseRefused(lease("a"), "no room")), DRIVER)
    assert said == [LeaseRefused(lease("a"), "no workers; no room")]


def test_a_request_is_refused_when_who_did_not_refuse_it_is_gone() -> None:
    bench = beside()
    bench.member(state(WEST))
    bench.forwarded()
    bench.say(EAST, LeaseRefused(lease("a"), "no workers"))
    said = messages(bench.gone(WEST), DRIVER)
    assert said == [LeaseRefused(lease("a"), "no workers")]


def test_a_node_that_refused_is_told_the_job_anew_with_the_next_request() -> None:
    bench = beside()
    bench.forwarded()
    bench.say(EAST, LeaseRefused(lease("a"), "what job?"))
    assert kinds(messages(bench.forwarded("b"), EAST)) == ["ShareJob", "ForwardLease"]


def test_what_one_request_waits_for_since_a_node_refused_it_holds_back_no_other() -> None:
    bench = beside()
    bench.member(state(WEST, free=()))
    bench.forwarded()
    bench.say(EAST, LeaseRefused(lease("a"), "no"))
    assert kinds(messages(bench.forwarded("b"), EAST)) == ["ShareJob", "ForwardLease"]


def test_a_refusal_of_what_is_granted_or_of_an_ended_job_changes_nothing() -> None:
    bench = beside()
    bench.forwarded()
    bench.granted()
    assert messages(bench.say(EAST, LeaseRefused(lease("a"), "no"))) == []
    bench.forwarded("b")
    bench.say(DRIVER, EndJob(JOB))
    assert messages(bench.say(EAST, LeaseRefused(lease("b"), "no"))) == []


def test_when_a_node_is_gone_what_it_had_not_granted_queues_here_again() -> None:
    bench = beside()
    bench.forwarded("a")
    bench.granted("a")
    bench.forwarded("b")
    said = messages(bench.gone(), DRIVER)
    assert kinds(said) == ["ProcessDown", "LeaseWaiting"]
    down, waiting = said
    assert isinstance(down, ProcessDown)
    assert (down.peer, down.started) == (FAR_WORKER, -1)  # nobody can know what had begun
    assert isinstance(waiting, LeaseWaiting)
    assert (waiting.lease, waiting.feasible) == (lease("b"), False)
    assert waiting.reason == "needs num_cpus=1, this node has 0"
    assert kinds(messages(bench.member(state(WEST)), WEST)) == ["ShareJob", "ForwardLease"]


def test_what_nobody_can_meet_waits_until_a_node_comes_that_can() -> None:
    bench = beside()
    (said,) = messages(bench.say(DRIVER, ask("a", (("GPU", 10_000),))), DRIVER)
    reason = "needs num_gpus=1, no node of 2 has that"
    assert said == LeaseWaiting(lease("a"), False, reason)
    done = bench.member(state(WEST, (("GPU", 10_000),)))
    assert kinds(messages(done, WEST)) == ["ShareJob", "ForwardLease"]


def test_what_others_could_meet_says_what_it_waits_for() -> None:
    bench = beside()
    bench.member(state(free=()))
    bench.say(DRIVER, placed("a", (SPREAD, NO_PEER, False, (), ())))
    lease_here = bench.machine.leases.get(lease("a"))
    assert lease_here is not None
    reason = "needs num_cpus=1: of 1 nodes that have it, at most 0 free of CPU"
    assert bench.machine.leases.waits_for(lease_here) == reason
    out = without(bench.advance(1), Report)
    bench.machine.leases.notify(lease_here, bench.now_ns, out)
    assert messages(out) == [LeaseWaiting(lease("a"), True, reason)]
    assert LEASE_WAIT_NOTICE_NS > QUEUE_ELSEWHERE_NS


def test_a_node_that_meets_no_label_takes_nothing_even_if_it_is_alone() -> None:
    bench = Among(cpus=2)
    bench.drive()
    strategy: Strategy = ("", NO_PEER, False, (("zone", IN, ("east",)),), ())
    (said,) = messages(bench.say(DRIVER, placed("a", strategy)), DRIVER)
    assert isinstance(said, LeaseWaiting)
    assert said.reason == "wants a node with zone in east, no node of 1 is one"


def test_what_may_run_on_one_node_alone_is_refused_when_that_is_gone() -> None:
    bench = beside()
    bench.member(state(WEST, free=()))
    assert messages(bench.say(DRIVER, placed("a", SOMEWHERE))) == []
    assert kinds(messages(bench.gone(WEST), DRIVER)) == ["LeaseRefused"]
    assert kinds(messages(bench.say(DRIVER, placed("b", SOMEWHERE)), DRIVER)) == ["LeaseRefused"]
    bench.member(state(EAST, version=1))
    here: Strategy = (ON_NODE, EAST, False, (), ())
    bench.say(DRIVER, placed("c", here))
    assert kinds(messages(bench.gone(), DRIVER)) == ["LeaseRefused"]


def test_work_stays_here_while_less_than_half_is_used_and_is_spread_if_it_wants() -> None:
    bench = Among(cpus=4)
    bench.join(DRIVER, 1, NODE)
    bench.drive_again(DRIVER, JOB)
    bench.member(state(total=cpu(4)))
    homes = [bool(messages(bench.say(DRIVER, ask(name)), EAST)) for name in "abcd"]
    assert homes == [False, False, True, True]
    spread: Strategy = (SPREAD, NO_PEER, False, (), ())
    bench.member(state(total=cpu(4), version=1))
    turns = [bool(messages(bench.say(DRIVER, placed(n, spread)), EAST)) for n in "efg"]
    assert turns == [False, True, False]


def test_what_a_dead_owner_has_elsewhere_is_ended_there_by_who_watches_it() -> None:
    bench = beside()
    bench.forwarded()
    done = bench.step(ProcessExited(DRIVER, 1, "gone")) + bench.quiet()
    assert messages(done, EAST) == [], "it asks for the end of its guests' owners, and hears that"
    assert bench.machine.cluster.spillback.forwards.get(lease("a")) is None


def test_the_end_of_a_job_is_told_to_those_who_know_it() -> None:
    bench = beside()
    bench.forwarded()
    bench.join(peer("other"), 1, NODE)
    bench.drive_again(peer("other"), job("other"))
    bench.say(peer("other"), ask("o", cpu(1), job("other")))
    said = messages(bench.say(DRIVER, EndJob(JOB)), EAST)
    assert said == [ReturnLease(lease("a"), False), EndJob(JOB)]


def test_a_request_of_a_job_that_is_over_does_not_queue_again() -> None:
    bench = Among(cpus=1)
    bench.member()
    bench.member(state(WEST))
    bench.shared()
    bench.start(FIRST)
    asked = RequestLease(lease("n"), JOB, cpu(2), "nested")
    bench.say(FIRST, asked)
    forwards = bench.machine.cluster.spillback.forwards
    assert [one.node for one in forwards.all()] == [EAST]
    bench.gone()
    assert len(forwards) == 0
    assert bench.machine.leases.get(lease("n")) is None


def test_a_refusal_after_the_driver_of_another_node_died_brings_nothing_back() -> None:
    bench = Among(cpus=1)
    bench.member(state(free=()))
    bench.member(state(WEST))
    bench.shared()
    bench.start(FIRST)
    bench.say(FIRST, RequestLease(lease("n"), JOB, cpu(2), "nested"))
    forwards = bench.machine.cluster.spillback.forwards
    assert [one.node for one in forwards.all()] == [WEST]
    bench.say(EAST, ProcessDown(FAR_DRIVER, 1, 9, -1, 9, "", NO_LEASE, 0))
    assert messages(bench.say(WEST, LeaseRefused(lease("n"), "no"))) == []
    assert len(forwards) == 0
    assert bench.machine.leases.get(lease("n")) is None


@pytest.mark.parametrize("name", [DRIVER, FIRST])
def test_words_of_other_nodes_count_from_nodes_only(name: PeerId) -> None:
    bench = alone()
    if name == FIRST:
        bench.join(FIRST, 1, NODE)
    bench.say(name, LeaseBack(lease("a"), (), 0))
    bench.say(name, LeaseGranted(lease("a"), far(FAR_WORKER), 9))
    assert len(bench.machine.cluster.spillback.forwards) == 0
