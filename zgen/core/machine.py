"""The `Machine` protocol.

Contract. The driver of a machine (the loop over ZeroMQ, or the simulator)

1. calls ``step`` with one event at a time, never concurrently, with a clock that does not run
backwards;
2. performs the effects in list order;
3. steps ``TimerDue`` when the clock has reached ``next_deadline_ns``, as soon as it can; later is
slower
   and never wrong;
4. steps ``InboxDrained`` after each look that found the inbox empty, while ``lines_closing`` is
true.

A machine has no clock, socket, thread or dice; the same events give the same effects in every
process. An exception out of ``step`` means that its state is not to be trusted: never step it
again.
"""

from typing import Protocol

from zgen.core.effects import Effect
from zgen.core.events import Event


class Machine(Protocol):
    """What a loop or a simulated process drives.

    Attributes:
        next_deadline_ns: When ``TimerDue`` is wanted, or None.
    """

    next_deadline_ns: int | None

    @property
    def lines_closing(self) -> bool:
        """Whether ``InboxDrained`` is wanted."""

    def step(self, event: Event, now_ns: int) -> list[Effect]:
        """Absorb one event and return what is to be done, in order."""

    def check(self) -> None:
        """Assert every invariant; raise AssertionError with the story of what is broken."""
