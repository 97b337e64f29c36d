"""Two-way streams, from outside: a body is given what was sent, and answers that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.programs import Account, Plan
from zgen.ids import TaskId, short
from zgen.sim.oracle import Oracle
from zgen.wire.task import LOCK_STEP
from zgen.wire.value import Parcel, Value

if TYPE_CHECKING:
    from tests.sim.bodies import Body
    from tests.sim.cluster import Cluster


def plain(value: Value) -> tuple[bytes, tuple[bytes, ...], tuple[bytes, ...]]:
    """Return what of a value must arrive: its data, its buffers and the objects it refers to."""
    if isinstance(value, Parcel):
        return value.data, value.buffers, tuple(ref.object for ref in value.refs)
    assert isinstance(value, bytes), value
    return value, (), ()


class DialoguesKept(Oracle):
    """Each attempt is given what was sent, in order, each once, an item for each and no more.

    Attributes:
        inputs: How much was sent.
        again: How much of it was given to a later attempt.
    """

    promise = "P1"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        #: Stream -> what its user sent.
        self._sent: dict[TaskId, list[tuple[Value, bool]]] = {}
        #: Stream and attempt -> how much of that its body has taken.
        self._heard: dict[tuple[TaskId, int], int] = {}
        #: Bytes of what was sent that are kept; None for as many as are ever sent.
        self.log_bytes: int | None = None
        self.inputs = self.again = self.lost = 0

    def sent(self, stream: TaskId, value: Value, *, raises: bool) -> None:
        """A user sends something."""
        self.inputs += 1
        self._sent.setdefault(stream, []).append((value, raises))

    def goes_on(self, body: Body) -> bool:
        """A body is let go: it takes what it was given; return False if it is to end instead."""
        which = body.task, body.attempt
        at = self._heard.get(which, 0)
        story = f"{short(body.task)} attempt {body.attempt}, input {at}"
        self.require(body.yielded == at, f"{story} comes after {body.yielded} items")
        if not body.given:
            ends = body.account.owner.dead or body.attempt in body.account.interrupts
            self.require(ends, f"{story}: it was not asked")
            return False
        given = body.given.popleft()
        self.require(given.attempt == body.attempt, f"{story} is for attempt {given.attempt}")
        sent = self._sent.get(body.task, [])
        self.require(at < len(sent), f"{story} is {given.value!r}, which nobody sent")
        value, raises = sent[at]
        same = (plain(value), raises) == (plain(given.value), given.raises)
        self.require(same, f"{story} is {given.value!r}, sent was {value!r}")
        self._heard[which] = at + 1
        self.again += body.attempt > 0
        return True

    def answered(self, stream: TaskId, count: int) -> None:
        """A user has had so many items and no error: so many attempts were asked for them."""
        asked = len(self._sent.get(stream, ()))
        self.require(count <= asked, f"{short(stream)}: {count} items, {asked} were asked for")

    def ends_retries(self, plan: Plan) -> bool:
        """Return whether a stream may not run again after what it raised, though it could."""
        return plan.window == LOCK_STEP and self.log_bytes is not None

    def allowed(self, task: TaskId, account: Account, story: str) -> None:
        """A stream ends since it cannot be given again what it was sent."""
        self.lost += 1
        kept = self.log_bytes
        self.require(kept is not None, f"{story}, but all is kept")
        starts, retries = len(account.starts), account.plan.retries
        may = retries < 0 or starts <= retries
        self.require(may, f"{story}, but it may not run again anyhow")
        self.require(len(self._sent.get(task, ())) > 1, f"{story}, but nothing was sent")
