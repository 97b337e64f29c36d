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


#: What is noted when a body is held for that.
_MARKS: Final = {
    Reason.BYTES: "body held for unacknowledged bytes",
    Reason.WINDOW: "body parked at the end of its window",
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
    """

    def __init__(self) -> None:
        """Hold nothing."""
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

    def release(self, task: TaskId, reason: Reason, out: list[Effect]) -> None:
        """This reason is no more; harmless if the body is not held for it."""
        held = self.bodies.get(task)
        if held is None or reason not in held.reasons:
            return
        del held.reasons[reason]
        if held.reasons:
            reached("body held for another reason still")
        else:
            self.free(task, out)

    def free(self, task: TaskId, out: list[Effect]) -> None:
        """Let a body go on whatever it is held for; harmless if it is not held."""
        if self.bodies.pop(task, None) is not None:
            out.append(ReleaseBody(task))

    def forget(self, task: TaskId) -> None:
        """A body has ended."""
        self.bodies.pop(task, None)

    def free_of(self, owner: PeerId, out: list[Effect]) -> None:
        """Nobody reads what is yielded for this owner any more."""
        for task in [task for task, held in self.bodies.items() if held.owner == owner]:
            self.free(task, out)

    def is_held(self, task: TaskId, reason: Reason) -> bool:
        """Return whether a body is held for this reason."""
        held = self.bodies.get(task)
        return held is not None and reason in held.reasons

    def held_for(self, reason: Reason) -> list[tuple[TaskId, PeerId]]:
        """Return the bodies that are held for this reason, with who reads their items."""
        return [(task, held.owner) for task, held in self.bodies.items() if reason in held.reasons]

    def check(self) -> None:
        """Assert that no body is held for nothing."""
        for task, held in self.bodies.items():
            assert held.reasons, f"task {short(task)} is held for nothing"
