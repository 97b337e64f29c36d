"""Makes the faults of a schedule, each at its time, and heals each when it is over."""

import heapq
import threading
from collections.abc import Callable
from typing import Any, Final

from zgen.chaos.blows import Blow, Heal, strike
from zgen.chaos.guard import Guard
from zgen.chaos.schedule import ACTIONS, Fault
from zgen.chaos.scope import Scope
from zgen.exceptions import ZgenError
from zgen.io.clock import now_ns
from zgen.limits import SECOND
from zgen.slotted import slotted


@slotted
class Outcome:
    """What became of a fault.

    Attributes:
        at_s: When it was made, from the beginning.
        action: Which.
        made: Whether it was.
        pid: Process that it befell, 0 for none; of a node its daemon's.
        role: What that is.
        node: Id of its node.
        detail: Why it was not made, or how much was done.
        lasts_s: For how long.
    """

    at_s: float
    action: str
    made: bool
    pid: int
    role: str
    node: str
    detail: str
    lasts_s: float

    def row(self) -> dict[str, Any]:
        """Return it for programs."""
        return {name: getattr(self, name) for name in self.__slots__}  # type: ignore[attr-defined]  # made by slotted


class Chaos:
    """One run of faults; heals all that it did when it ends, however it ends."""

    def __init__(self, faults: list[Fault], scope: Scope) -> None:
        """Take what is to be done, and where.

        Args:
            faults: The faults, in any order.
            scope: The nodes that they may befall.
        """
        self._faults: Final = sorted(faults, key=lambda fault: fault.at_s)
        self._scope = scope
        self._guard: Guard | None = None
        self._began_ns = 0
        #: What is to be healed: when, tie-breaker, how.
        self._open: list[tuple[float, int, Heal]] = []
        self._ties = 0

    def run(self, tell: Callable[[Outcome], None], until_s: float) -> list[Outcome]:
        """Make the faults, tell each, and heal; it takes ``until_s`` at least.

        What interrupts it comes out once all is healed. If this process is killed, a guard heals.
        """
        if any(ACTIONS[fault.action][1] for fault in self._faults):
            self._guard = Guard()
        self._began_ns = now_ns()
        outcomes: list[Outcome] = []
        try:
            for fault in self._faults:
                self._wait(fault.at_s)
                outcomes.append(self._make(fault))
                tell(outcomes[-1])
            ends_s = max([until_s, *(at_s for at_s, _, _ in self._open)])
            self._wait(ends_s)
        finally:
            while self._open:
                heapq.heappop(self._open)[2]()
            if self._guard is not None:
                self._guard.done()
        return outcomes

    def _make(self, fault: Fault) -> Outcome:
        try:
            found = self._scope.nodes()
            if self._guard is not None and fault.lasts_s:
                for node in found:
                    self._guard.tell(node.folder)
            blow = strike(fault, found)
        except (ZgenError, OSError) as error:
            blow = Blow(None, str(error))
        if blow.heal is not None:
            self._ties += 1
            heapq.heappush(self._open, (self._now_s + fault.lasts_s, self._ties, blow.heal))
        victim = blow.victim
        return Outcome(
            at_s=round(self._now_s, 3),
            action=fault.action,
            made=victim is not None,
            pid=victim.pid if victim else 0,
            role=victim.role if victim else "",
            node=victim.node.address.peer.hex() if victim else "",
            detail=blow.why,
            lasts_s=fault.lasts_s,
        )

    @property
    def _now_s(self) -> float:
        return (now_ns() - self._began_ns) / SECOND

    def _wait(self, until_s: float) -> None:
        """Wait, and heal what is over meanwhile."""
        quiet = threading.Event()
        while True:
            now_s = self._now_s
            while self._open and self._open[0][0] <= now_s:
                heapq.heappop(self._open)[2]()
            if now_s >= until_s:
                return
            next_s = self._open[0][0] if self._open else until_s
            quiet.wait(max(0.0, min(next_s, until_s) - now_s))
