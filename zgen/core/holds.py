"""Executor side: which bodies may not go on, and for which reasons.

Rules of this file: a body is held from its first reason to the end of its last one. What the
reasons are worth is not known here.
"""

from enum import Enum
from typing import Final

from zgen.core.effects import Effect, HoldBody, ReleaseBody
from zgen.core.marks import reached
from zgen.ids import PeerId, TaskId, short
from zgen.slotted import slotted


class Reason(Enum):
    """Why a body may not go on."""

    BYTES = "too many item bytes are not acknowledged"
    WINDOW = "its consumer has to take items first"
    ROOM = "its consumer has to take bytes first, or those of its actor"


#: What is noted when a body is held for that.
_MARKS: Final = {
    Reason.BYTES: "body held for unacknowledged bytes",
    Reason.WINDOW: "body parked at the end of its window",
    Reason.ROOM: "body parked until its next item fits",
}


@slotted
class Held:
    """A body that is held.

    Attributes:
        owner: Who reads its items.
        reasons: Why; never empty.
    """

    owner: PeerId
    reasons: dict[Reason, None]


class Holds:
    """The bodies of one worker that may not go on.

    Attributes:
        bodies: The bodies.
        unacked: Those that are held for bytes, by who has to acknowledge these: what comes in
            asks for them again and again, whatever else is held.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        #: Owner -> bodies. Added by ``hold``; removed as they are from ``bodies``, or before.
        self.unacked: dict[PeerId, dict[TaskId, None]] = {}
        #: Task -> why it is held. Added by ``hold``; removed by the last ``release``, ``forget``
        #: and ``free``.
        self.bodies: dict[TaskId, Held] = {}

    def hold(self, task: TaskId, owner: PeerId, reason: Reason, out: list[Effect]) -> None:
        """Do not let a body go on for this reason; harmless if it is held for that already."""
        held = self.bodies.get(task)
        if held is None:
            held = self.bodies[task] = Held(owner, {})
            out.append(HoldBody(task))
        if reason not in held.reasons:
            reached(_MARKS[reason])
            held.reasons[reason] = None
            if reason is Reason.BYTES:
                self.unacked.setdefault(owner, {})[task] = None

    def release(self, task: TaskId, reason: Reason, out: list[Effect]) -> None:
        """This reason is no more; harmless if the body is not held for it."""
        held = self.bodies.get(task)
        if held is None or reason not in held.reasons:
            return
        del held.reasons[reason]
        if reason is Reason.BYTES:
            self._forget_bytes(task, held.owner)
        if held.reasons:
            reached("body held for another reason still")
        else:
            self.free(task, out)

    def free(self, task: TaskId, out: list[Effect]) -> None:
        """Let a body go on whatever it is held for; harmless if it is not held."""
        if self.forget(task):
            out.append(ReleaseBody(task))

    def forget(self, task: TaskId) -> bool:
        """A body has ended; return whether it was held."""
        held = self.bodies.pop(task, None)
        if held is not None and Reason.BYTES in held.reasons:
            self._forget_bytes(task, held.owner)
        return held is not None

    def free_of(self, owner: PeerId, out: list[Effect]) -> None:
        """Nobody reads what is yielded for this owner any more."""
        for task in [task for task, held in self.bodies.items() if held.owner == owner]:
            self.free(task, out)

    def is_held(self, task: TaskId, reason: Reason) -> bool:
        """Return whether a body is held for this reason."""
        held = self.bodies.get(task)
        return held is not None and reason in held.reasons

    def release_acked(self, owner: PeerId, out: list[Effect]) -> None:
        """Enough is acknowledged by this owner."""
        for task in list(self.unacked.get(owner, ())):
            self.release(task, Reason.BYTES, out)

    def check(self) -> None:
        """Assert that no body is held for nothing."""
        for task, held in self.bodies.items():
            assert held.reasons, f"task {short(task)} is held for nothing"
        unacked = [
            (task, held.owner) for task, held in self.bodies.items() if Reason.BYTES in held.reasons
        ]
        known = [(task, owner) for owner, tasks in self.unacked.items() for task in tasks]
        assert sorted(unacked) == sorted(known), f"{unacked} are held for bytes, {known} known"
        assert all(self.unacked.values()), "an owner that holds nothing"

    def _forget_bytes(self, task: TaskId, owner: PeerId) -> None:
        tasks = self.unacked[owner]
        del tasks[task]
        if not tasks:
            del self.unacked[owner]
