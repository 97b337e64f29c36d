"""P4: what is lost is made again, once for each loss, or named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.programs import Account, attempt_in
from zgen.core.process import ProcessMachine
from zgen.ids import ObjectId, short, task_of
from zgen.sim.oracle import Oracle
from zgen.wire.value import (
    REASON_CANCELLED,
    REASON_EVICTED,
    REASON_NO_ACTOR,
    REASON_NO_RETRIES,
    REASON_PUT,
    REASON_SPENT,
    Fault,
)

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.programs import Consumer


class LostIsRebuilt(Oracle):
    """P4: a lost object comes again, or an error that says rightly why not."""

    promise = "P4"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: How often tasks started again that had ended.
        self.rebuilt = 0
        self.named = 0

    @property
    def losses(self) -> int:
        """How often anything in shared memory may have been lost so far."""
        cluster = self.cluster
        memories = getattr(cluster, "memories", {0: getattr(cluster, "memory", None)})
        regions = sum(len(memory.lost) for memory in memories.values() if memory is not None)
        return cluster.node_deaths + cluster.lost_count + regions

    def started(self, account: Account, story: str) -> None:
        """An execution starts; ``account`` does not count it yet."""
        if not account.ends:
            return
        self.rebuilt += 1
        crashed = len(account.starts) - len(account.ends)
        plain = not any(op[0] in ("raise", "gather") for op in account.plan.ops)
        may = len(account.ends) - crashed <= self.losses + len(self.cluster.worker_deaths)
        self.require(not plain or may, f"{story}: ended {account.ends}, {self.losses} losses")

    def woken(self, name: ObjectId) -> None:
        """Somebody is told that an object is there, which is gone again."""
        self.require(self.losses > 0, f"woken for nothing: {short(name)}")

    def read(self, user: Consumer, name: ObjectId) -> None:
        """Somebody begins to read an object: what a run made that differed must be gone by then."""
        task, value = task_of(name), user.owner.refs.value_of(name)
        account = self.cluster.accounts.get(task)
        if account is None or not account.differed or account.owner is not user.life:
            return
        attempt = attempt_in(value) if value is not None else None
        worker = account.differed.get(attempt) if attempt is not None else None
        machine = user.life.machine
        assert isinstance(machine, ProcessMachine)
        if worker is None or worker in self.cluster.worker_deaths:
            return  # its end may never have come
        if machine.session.is_fenced(worker, 1):
            return  # nor is it heard if it is held for dead
        is_over = task not in user.owner.tasks.entries
        self.require(not is_over, f"{short(name)} is of attempt {attempt}, which differed")

    def allowed(self, account: Account, fault: Fault, story: str) -> None:
        """Somebody is told why an object is not made again."""
        self.named += 1
        plan, starts = account.plan, len(account.starts)
        self.require(self.losses > 0, f"{story}: nothing was lost")
        if fault.why == REASON_NO_RETRIES:
            self.require(plan.retries == 0, story)
        elif fault.why == REASON_SPENT:
            spent = starts == 1 + plan.retries or bool(self.cluster.lost_count or account.differed)
            self.require(spent, f"{story}: {starts} of {1 + plan.retries}")
        elif fault.why == REASON_NO_ACTOR:
            self.require(account.actor is not None, story)
        else:
            known = (REASON_PUT, REASON_CANCELLED, REASON_EVICTED)
            self.require(fault.why in known, story)
