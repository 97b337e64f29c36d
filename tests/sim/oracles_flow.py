"""Backpressure in items, from outside: no body is ahead of its consumer by more than asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.programs import Account
from zgen.core.effects import Effect, HoldBody, ItemsTaken
from zgen.core.events import Event, TakeItems, Yielded
from zgen.ids import TaskId
from zgen.limits import INLINE_BYTES_MAX
from zgen.sim.oracle import Oracle
from zgen.sim.world import Life

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster


class WindowsKept(Oracle):
    """Never more items than the window are there that the consumer has not taken.

    Attributes:
        parked: How often a body was held after an item of a stream with a window.
    """

    promise = "window"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: Stream -> items that were handed over.
        self._taken: dict[TaskId, int] = {}
        #: Stream -> items that its user has certainly taken.
        self._consumed: dict[TaskId, int] = {}
        #: Stream and attempt -> items that this attempt has yielded.
        self._yielded: dict[tuple[TaskId, int], int] = {}
        self.parked = 0
        self.resumptions = 0

    def after_step(self, life: Life, event: Event, effects: list[Effect]) -> None:
        if type(event) is TakeItems:
            for effect in effects:
                if type(effect) is ItemsTaken:
                    self._took(effect)
        elif type(event) is Yielded and not self._fills_in(life, event.task):
            self._look(event.task, event.attempt, effects)

    def resumed(self, account: Account, stream: TaskId, attempt: int, position: int) -> None:
        """A body asked where to go on: behind all that its owner has, or one item before.

        Large items may have to be made again.
        """
        self._yielded[stream, attempt] = position
        self.resumptions += position > 0
        user = self.cluster.user_of(account.owner)
        record = user.owner.streams.streams.get(stream) if user is not None else None
        sizes = [op[3] for op in account.plan.ops if op[0] == "yield"]
        if record is None or record.attempt != attempt or max(sizes, default=0) > INLINE_BYTES_MAX:
            return
        good = record.known - (account.plan.window > 0) <= position <= record.known
        self.require(good, f"attempt {attempt} goes on at {position}, {record.known} items are had")

    def _took(self, taken: ItemsTaken) -> None:
        """Who comes for more has had all before; of these the first at once, the others later."""
        stream, count = taken.stream, len(taken.objects)
        before = self._taken.get(stream, 0)
        self._taken[stream] = before + count
        self._consumed[stream] = before + (count > 0)

    def _fills_in(self, life: Life, stream: TaskId) -> bool:
        """Return whether a body runs again for lost items: of the others it reports none.

        It yields them all the same, more than its consumer took if an earlier attempt failed.
        """
        worker = self.cluster.workers.get(life.number)
        body = worker.bodies.get(stream) if worker is not None else None
        return body is not None and bool(body.pushed.wanted)

    def _look(self, stream: TaskId, attempt: int, effects: list[Effect]) -> None:
        account = self.cluster.accounts[stream]
        window = account.plan.window
        if window <= 0 or attempt in account.interrupts:
            return  # what it yields after it was cancelled is dropped
        count = self._yielded[stream, attempt] = self._yielded.get((stream, attempt), 0) + 1
        self.parked += any(type(effect) is HoldBody for effect in effects)
        user = self.cluster.user_of(account.owner)
        if account.owner.dead or user is None or stream not in user.handles:
            return  # nobody reads: it runs on unhindered
        waiting = count - self._consumed.get(stream, 0)
        self.require(
            waiting <= window, f"{waiting} items of a window of {window} wait for their consumer"
        )
