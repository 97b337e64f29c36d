"""What holds of actors, whatever dies: order, concurrency, causes of errors, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.programs import Account
from zgen.core.process import ProcessMachine
from zgen.core.supervision import NO_HANDLE
from zgen.ids import TaskId, short
from zgen.sim.oracle import Oracle
from zgen.sim.world import Life
from zgen.wire.task import PushedTask
from zgen.wire.value import Fault, FaultKind

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster, Worker


class ActorsKeepOrder(Oracle):
    """P5: calls start in the order of each caller, no more at a time than allowed, in one life."""

    promise = "P5"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.calls = 0

    def started(self, worker: Worker, account: Account, task: PushedTask) -> None:
        """A call starts; the body of it is not among those of the worker yet.

        One that has ended in this life, or was stopped, and runs again there for what was lost of
        it, does so behind those that its actor has by then.
        """
        assert account.actor is not None
        self.calls += 1
        account.worker = worker.name
        story = self.cluster.actors[account.actor]
        caller, seq = account.owner.number, account.seq
        who = f"call {seq} of {account.owner.name} to {short(account.actor)}"
        self.require(worker.actor == account.actor, f"{who} starts at another actor")
        settings = story.settings
        limit = settings.max_concurrency + sum(count for _, count in settings.groups)
        self.require(len(worker.bodies) < limit, f"{who} starts beside {len(worker.bodies)}")
        if not story.in_order:
            return
        if task.attempt == 0:
            last = story.last_first.get(caller, 0)
            self.require(seq > last, f"{who} starts after call {last}")
            story.last_first[caller] = seq
        is_again = bool(task.wanted) or account.is_stopped
        if not (is_again or any(op[0] == "raise" and op[1] >= 0 for op in account.plan.ops)):
            last = story.last.get((worker.name, caller), 0)
            self.require(seq > last, f"{who} starts in this life after call {last}")
            story.last[worker.name, caller] = seq

    def goes_on(self, worker: Worker, account: Account) -> None:
        """A body is about to yield: not if the worker knows that its caller is dead."""
        machine, owner = worker.life.machine, account.owner.address
        assert isinstance(machine, ProcessMachine)
        if account.actor is not None:
            knows = machine.session.is_fenced(owner.peer, owner.incarnation)
            self.require(not knows, f"call {account.seq} goes on for {account.owner.name}, dead")

    def allowed(self, account: Account, fault: Fault, text: str) -> None:
        """A call failed, or a creation task, and the actor is said to be the cause."""
        actor = account.actor
        self.require(actor is not None, f"{text}, but it is no call")
        assert actor is not None
        story = self.cluster.actors[actor]
        starts = len(account.starts)
        self.require(fault.may_have_run or not starts, f"{text}: it did run")
        machine = account.owner.machine
        assert isinstance(machine, ProcessMachine)
        if account.worker is not None and account.starts[-1] not in account.ends:
            quiet = machine.session.is_fenced(account.worker, 1)
            self.require(quiet, f"{text}: its worker may have more to say")
        if fault.kind is FaultKind.ACTOR_UNAVAILABLE:
            self.require(story.deaths > 0, f"{text}, but no worker of it died")
            self.require(account.plan.retries >= 0, f"{text}, but it may run for ever")
            self.require(fault.may_have_run, f"{text}: it may be sent again")
            return
        kept = account.owner is story.creator and not story.settings.name
        self.require(not (kept and NO_HANDLE in fault.reason), f"{text}: its call keeps its actor")
        creation = self.cluster.accounts[TaskId(actor)]
        restarts = story.settings.max_restarts
        causes = {
            "killed": story.kills > 0,
            "ended itself": story.exits > 0,
            "dropped": story.is_dropped,
            "creator died": story.creator.dead,
            "__init__ raises": any(op[0] == "raise" for op in creation.plan.ops),
            "arguments": bool(creation.slots) and not creation.starts,
            "restarts used up": 0 <= restarts < story.deaths,
            "node died": self.cluster.node_deaths > 0,
            "workers do not start": self.cluster.spawn_failures > 0,
        }
        self.require(any(causes.values()), f"{text}, but nothing happened to it")

    def process_at_rest(self, life: Life, machine: ProcessMachine) -> None:
        """Nobody holds a handle any more."""
        actors = machine.owner.actors
        for what, table in (
            ("actors", actors.supervision.table.actors),
            ("leases of actors", actors.supervision.table.by_lease),
            ("called actors", actors.calling.calls.targets),
            ("watched objects", machine.owner.refs.watched),
            ("objects gone", machine.owner.refs.gone),
        ):
            self.require(not table, f"{life.name} keeps {what}: {table}")
        lives = machine.executor is not None and machine.executor.calls is not None
        self.require(not lives, f"{life.name} is the worker of an actor that nobody can call")
