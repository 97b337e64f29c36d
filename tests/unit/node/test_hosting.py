"""Requests of processes of other nodes: their jobs, their leases, and their ends."""

from __future__ import annotations

import pytest

from tests.unit.node.clusters import (
    EAST,
    FAR_DRIVER,
    FIRST,
    WEST,
    Among,
    far,
    messages,
    placed,
    state,
)
from tests.unit.node.fakes import DRIVER, JOB, NODE, ask, cpu, job, lease, spawned
from zgen.core.effects import Effect
from zgen.core.events import WorkerPrinted
from zgen.core.node_effects import JobKnown, JobOver
from zgen.ids import NO_PEER
from zgen.limits import LOG_BACKLOG_BYTES_MAX
from zgen.wire.cluster import ForwardLease, JobPrinted, LeaseBack, ShareJob
from zgen.wire.lease import (
    IN,
    EndJob,
    LeaseGranted,
    LeaseRefused,
    LogLines,
    ProcessDown,
    ReturnLease,
)
from zgen.wire.object import WatchProcess
from zgen_node.core import hosting


def host(cpus: float = 1) -> Among:
    bench = Among(cpus=cpus)
    bench.member()
    return bench


def share(of: bytes = JOB, driver: bytes = FAR_DRIVER) -> ShareJob:
    return ShareJob(job(of.decode()), far(FAR_DRIVER), ("lib",), "folder", ())


def test_a_request_of_another_node_is_met_like_one_of_its_own() -> None:
    bench = host()
    done = bench.shared()
    assert JobKnown(JOB, ("lib",), "folder", ()) in done
    assert messages(done, EAST) == [WatchProcess(FAR_DRIVER, 1, EAST)]  # driver and owner
    assert spawned(done) == [FIRST]
    (granted,) = messages(bench.start(FIRST), EAST)
    assert isinstance(granted, LeaseGranted)
    assert (granted.lease, granted.worker.peer) == (lease("f"), FIRST)
    assert messages(bench.die(FIRST) + bench.quiet(), EAST) != []


def test_the_worker_hears_of_the_end_of_an_owner_of_another_node() -> None:
    bench = host()
    bench.shared()
    bench.start(FIRST)
    down = ProcessDown(FAR_DRIVER, 1, 7, -1, 9, "", lease("f"), 0)
    done = bench.say(EAST, down)
    assert messages(done, FIRST) == [down]
    assert JobOver(JOB) in done
    assert bench.states() == ["leased ending"]
    assert bench.free == cpu(1)


def test_what_does_not_fit_is_handed_back_unless_it_is_to_queue() -> None:
    bench = host()
    bench.shared()
    done = bench.say(EAST, ForwardLease(ask("g"), far(FAR_DRIVER), False))
    assert messages(done, EAST) == [LeaseBack(lease("g"), (("CPU", 0),), 0)]
    assert messages(bench.say(EAST, ForwardLease(ask("h"), far(FAR_DRIVER), True)), EAST) == []
    assert [one.lease for one in bench.machine.leases.queued()] == [lease("h")]
    zone = placed("i", ("", NO_PEER, False, (("zone", IN, ("east",)),), ()))
    done = bench.say(EAST, ForwardLease(zone, far(FAR_DRIVER), True))
    assert messages(done, EAST) == [LeaseBack(lease("i"), (("CPU", 0),), 0)]
    bench.member(state(WEST))
    assert messages(bench.advance(1), WEST) == []  # what came from elsewhere goes nowhere else


def test_another_node_returns_its_leases_and_nobody_else() -> None:
    bench = host()
    bench.shared()
    bench.start(FIRST)
    bench.member(state(WEST))
    bench.say(WEST, ReturnLease(lease("f"), True))
    assert bench.counts["return of another's lease"] == 1
    bench.say(EAST, ReturnLease(lease("f"), True))
    assert bench.free == cpu(1)


def test_requests_that_cannot_be_are_refused() -> None:
    bench = host()

    def refusal(asked: ForwardLease) -> str:
        (said,) = messages(bench.say(EAST, asked), EAST)
        assert isinstance(said, LeaseRefused)
        return said.reason

    unknown = ForwardLease(ask("a"), far(FAR_DRIVER), False)
    assert refusal(unknown) == "this node does not know the job any more"
    bench.shared()
    again = ForwardLease(ask("f"), far(FAR_DRIVER), False)
    assert refusal(again) == "this node has that request already"
    bad = ForwardLease(ask("b", (("CPU", -1),)), far(FAR_DRIVER), False)
    assert refusal(bad) == "a shape's amounts are positive"


def test_there_are_no_more_requests_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = host()
    bench.shared()
    monkeypatch.setattr(hosting, "LEASES_COUNT_MAX", 1)
    (said,) = messages(bench.say(EAST, ForwardLease(ask("g"), far(FAR_DRIVER), True)), EAST)
    assert said == LeaseRefused(lease("g"), "this node has 1 requests already")


def test_who_is_dead_gets_nothing_any_more() -> None:
    bench = host()
    bench.shared()
    bench.say(EAST, share(of=b"other"))  # a second job of the driver
    other = far(DRIVER)
    bench.say(EAST, ForwardLease(ask("g"), other, True))
    bench.say(EAST, ProcessDown(DRIVER, 1, 7, -1, 9, "", lease("f"), 0))
    (said,) = messages(bench.say(EAST, ForwardLease(ask("h"), other, True)), EAST)
    assert said == LeaseRefused(lease("h"), "who asked is dead, as far as this node knows")
    bench.say(EAST, ProcessDown(FAR_DRIVER, 1, 7, -1, 9, "", lease("f"), 0))
    assert not [e for e in bench.say(EAST, share()) if isinstance(e, JobKnown)]
    assert list(bench.machine.jobs) == []


def test_jobs_and_requests_come_from_nodes_only() -> None:
    bench = host()
    bench.join(DRIVER, 1, NODE)
    bench.say(DRIVER, share())
    bench.say(DRIVER, ForwardLease(ask("a"), far(FAR_DRIVER), False))
    bench.say(EAST, ForwardLease(ask("a"), far(FAR_DRIVER, WEST), False))
    bench.say(EAST, ShareJob(JOB, far(FAR_DRIVER, NODE), (), "", ()))
    assert bench.counts["job of a node that has none"] == 2
    assert bench.counts["request for a process of another node"] == 2
    assert list(bench.machine.jobs) == []


def test_a_node_hears_of_its_own_job_from_who_hosts_it_and_finds_nothing_wrong() -> None:
    bench = host()
    bench.join(DRIVER, 1, NODE)
    bench.drive_again(DRIVER, JOB)
    assert bench.say(EAST, ShareJob(JOB, far(DRIVER, NODE), ("lib",), "folder", ())) == []
    assert bench.counts == {}


def test_a_job_ends_at_the_word_of_a_node() -> None:
    bench = host()
    bench.shared()
    assert JobOver(JOB) in bench.say(EAST, EndJob(JOB))
    bench.say(EAST, EndJob(JOB))
    assert bench.counts["end of another's job"] == 1


def printed(lines: tuple[str, ...]) -> list[Effect]:
    bench = host()
    bench.shared()
    bench.start(FIRST)
    return bench.step(WorkerPrinted(FIRST, False, lines, 0))


def test_what_a_worker_prints_goes_to_its_driver_by_way_of_its_node() -> None:
    assert messages(printed(("hello",)), EAST) == [JobPrinted(JOB, 100, False, ("hello",), 0)]
    bench = Among(cpus=1)
    bench.member()
    bench.join(DRIVER, 1, NODE)
    bench.drive_again(DRIVER, JOB)
    done = bench.say(EAST, JobPrinted(JOB, 100, True, ("hello",), 2))
    assert messages(done, DRIVER) == [LogLines(100, True, ("hello",), 2)]
    assert messages(bench.say(DRIVER, JobPrinted(JOB, 100, True, ("hello",), 2))) == []
    assert messages(bench.say(EAST, JobPrinted(job("other"), 1, True, (), 0))) == []
    assert LOG_BACKLOG_BYTES_MAX > 0
