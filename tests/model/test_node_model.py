"""A whole node under any order of requests, deaths and waits: all are served in the end."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.unit.node.fakes import NO_LEASE, Bench, cpu, job, peer
from zgen.core.events import InboxDrained, ProcessExited, WorkerExited
from zgen.ids import JobId, LeaseId, PeerId
from zgen.limits import SECOND
from zgen.wire.lease import EndJob, RequestLease, ReturnLease, Shape, WorkerBlocked
from zgen_node.core.lease_table import Lease, LeaseState
from zgen_node.core.worker_pool import Worker, WorkerState

DRIVERS = {peer("driver 1"): job("job 1"), peer("driver 2"): job("job 2")}
MET = (LeaseState.GRANTED, LeaseState.BLOCKED)


class NodeMachineModel(RuleBasedStateMachine):
    """Drivers and workers that do what they like; ``check()`` follows every step of the node."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(cpus=2, prestart=True)
        self.alive: dict[PeerId, JobId] = {}
        self.asked = 0

    def workers(self, *states: WorkerState) -> list[Worker]:
        return [made for made in self.bench.machine.pool.all() if made.state in states]

    def leases(self, *states: LeaseState) -> list[Lease]:
        return [made for made in self.bench.machine.leases.all() if made.state in states]

    def owners(self) -> dict[PeerId, JobId]:
        up = self.workers(WorkerState.IDLE, WorkerState.LEASED)
        return self.alive | {made.worker: made.job for made in up if not made.ending}

    def free_is_whole(self) -> bool:
        return self.bench.free == cpu(2)

    # -- drivers -----------------------------------------------------------------------------------
    @precondition(lambda self: len(self.alive) < len(DRIVERS))
    @rule()
    def driver_joins(self) -> None:
        name = next(name for name in DRIVERS if name not in self.alive)
        life = self.bench.addresses[name].incarnation + 1 if name in self.bench.addresses else 1
        self.bench.join(name, life)
        self.bench.drive_again(name, DRIVERS[name])
        self.alive[name] = DRIVERS[name]

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), how=st.sampled_from(["dies", "leaves", "ends and leaves"]))
    def driver_goes(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(list(self.alive)))
        if how == "dies":
            self.bench.step(ProcessExited(name, self.bench.addresses[name].incarnation, "killed"))
        else:
            if how == "ends and leaves":
                self.bench.say(name, EndJob(self.alive[name]))
            self.bench.leave(name)
        del self.alive[name]

    # -- owners ------------------------------------------------------------------------------------
    @precondition(lambda self: self.owners())
    @rule(data=st.data(), shape=st.sampled_from([cpu(1), cpu(1), cpu(2), cpu(0.5), (), cpu(3)]))
    def owner_asks(self, data: st.DataObject, shape: Shape) -> None:
        owner = data.draw(st.sampled_from(list(self.owners())))
        self.asked += 1
        name = LeaseId(self.asked.to_bytes(16, "big"))
        self.bench.say(owner, RequestLease(name, self.owners()[owner], shape, "work"))

    @precondition(lambda self: self.bench.machine.leases.all())
    @rule(data=st.data(), reusable=st.booleans())
    def owner_returns(self, data: st.DataObject, reusable: bool) -> None:
        made = data.draw(st.sampled_from(self.bench.machine.leases.all()))
        self.bench.say(made.owner, ReturnLease(made.lease, reusable))

    # -- workers -----------------------------------------------------------------------------------
    @precondition(lambda self: self.workers(WorkerState.STARTING))
    @rule(data=st.data())
    def worker_starts(self, data: st.DataObject) -> None:
        made = data.draw(st.sampled_from(self.workers(WorkerState.STARTING)))
        self.bench.start(made.worker, pid=100 + made.spawn_index)

    @precondition(lambda self: self.bench.machine.pool.all())
    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        made = data.draw(st.sampled_from(self.bench.machine.pool.all()))
        self.bench.step(WorkerExited(made.worker, made.pid, 1, 0, "", NO_LEASE, 0))

    @precondition(lambda self: self.leases(*MET))
    @rule(data=st.data(), blocked=st.booleans())
    def worker_blocks(self, data: st.DataObject, blocked: bool) -> None:
        made = data.draw(st.sampled_from(self.leases(*MET)))
        assert made.worker is not None
        self.bench.say(made.worker, WorkerBlocked(made.lease, blocked))

    # -- time --------------------------------------------------------------------------------------
    @rule(by_ns=st.sampled_from([SECOND // 100, SECOND, 15 * SECOND, 61 * SECOND]))
    def advance(self, by_ns: int) -> None:
        self.bench.advance(by_ns)

    @rule()
    def drained(self) -> None:
        self.bench.step(InboxDrained())

    @rule()
    def the_node_comes_to_rest(self) -> None:
        """Let all be well from now on: everything feasible is served, and nothing stays behind."""
        for _ in range(2_000):
            if not self.one_good_turn():
                break
        else:
            raise AssertionError(f"no rest: {self.bench.states()}")
        machine = self.bench.machine
        assert [made.state for made in machine.leases.all() if made.feasible] == []
        assert self.free_is_whole()
        self.bench.advance(60 * SECOND)
        for made in machine.pool.all():
            if made.ending:
                self.bench.die(made.worker)
        self.bench.quiet()
        for record in machine.jobs:
            assert len(machine.pool.of_job(record.job)) <= record.prestart_count
        assert all(made.job in self.alive.values() for made in machine.pool.all())

    def one_good_turn(self) -> bool:
        """Do the next thing that happens in a healthy cluster; return False if there is none."""
        for made in self.bench.machine.pool.all():
            if made.ending and made.state is not WorkerState.DEAD:
                self.bench.die(made.worker)
                return True
        if self.workers(WorkerState.DEAD) or self.bench.closing():
            self.bench.quiet()
            return True
        for made in self.workers(WorkerState.STARTING):
            self.bench.start(made.worker)
            return True
        for met in self.leases(*MET):
            assert met.worker is not None
            self.bench.say(met.worker, WorkerBlocked(met.lease, False))
            self.bench.say(met.owner, ReturnLease(met.lease, True))
            return True
        return False


TestNode = NodeMachineModel.TestCase
TestNode.settings = settings(max_examples=60, stateful_step_count=40)
