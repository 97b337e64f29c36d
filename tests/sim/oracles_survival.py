"""What holds of nodes in trouble: who ends for memory, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.oracles import ErrorsNameTheirCause
from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.core.node_effects import KillWorker
from zgen.core.node_events import MemoryRead
from zgen.ids import PeerId, TaskId, short
from zgen.limits import WORKER_START_FAILURES_MAX
from zgen.sim.oracle import Oracle
from zgen.sim.world import Life
from zgen.wire.value import Fault, FaultKind, Value
from zgen_node.core.node import NodeMachine
from zgen_node.core.worker_pool import WorkerState

if TYPE_CHECKING:
    from tests.sim.programs import Account
    from tests.sim.survival_run import Survivors


class MemoryVictims(Oracle):
    """P5: one at a time ends for memory, and first the youngest of those that may run again."""

    promise = "P5"

    def __init__(self, cluster: Survivors) -> None:
        self.cluster = cluster
        #: Node -> who was last ended for memory there.
        self._last: dict[int, PeerId] = {}

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        machine = life.machine
        if not isinstance(event, MemoryRead) or not isinstance(machine, NodeMachine):
            return
        killed = [effect.worker for effect in effects if isinstance(effect, KillWorker)]
        self.require(len(killed) <= 1, f"{life.name} ends {len(killed)} workers for memory")
        for name in killed:
            self.cluster.memory_deaths += 1
            last = machine.pool.get(self._last.get(life.number, name))
            is_dying = last is not None and last.worker != name
            dead = last is None or last.state is WorkerState.DEAD
            self.require(not is_dying or dead, f"{life.name} ends another one before one is dead")
            self._last[life.number] = name
            self._judge(life, machine, name, event)

    def _judge(self, life: Life, machine: NodeMachine, name: PeerId, event: MemoryRead) -> None:
        ages: dict[PeerId, tuple[bool, int]] = {}
        for worker in machine.pool.all():
            lease = machine.leases.get(worker.lease) if worker.lease is not None else None
            measured = any(worker.worker == each for each, _ in event.workers)
            if lease is not None and measured and (not worker.ending or worker.worker == name):
                ages[worker.worker] = (lease.asked.retriable, lease.granted_ns)
        self.require(name in ages, f"{life.name} ends {short(name)}, which serves nobody")
        best = max(ages.values())
        self.require(ages[name] == best, f"{life.name} ends {ages[name]} where {best} is better")


class ErrorsOfSurvivors(ErrorsNameTheirCause):
    """P2: nothing is refused that may run on several nodes, unless its own node starts nothing."""

    def __init__(self, cluster: Survivors) -> None:
        super().__init__(cluster)
        self.survivors = cluster

    def allowed(self, task: TaskId, account: Account, value: Value, count: int | None) -> None:
        super().allowed(task, account, value, count)
        if isinstance(value, Fault) and value.kind is FaultKind.REFUSED:
            place = account.plan.place.partition(" ")[0]
            home = self.survivors.node_of(account.owner)
            failures = self.survivors.failed_starts.get(home.name, 0)
            held = place not in ("", "SPREAD", "soft") or failures >= WORKER_START_FAILURES_MAX
            self.require(held, f"{short(task)} of {home.name} is refused: {value.reason}")
