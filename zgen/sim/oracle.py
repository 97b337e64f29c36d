"""Checkers, safety and liveness; failure kinds; which marks were reached."""

from collections.abc import Hashable
from enum import Enum
from typing import TYPE_CHECKING

from zgen.core import marks
from zgen.core.effects import Effect
from zgen.core.events import Event

if TYPE_CHECKING:
    from zgen.sim.world import Life


class Kind(Enum):
    """What went wrong."""

    CRASH = "crash"  #: a step raised, or an invariant did not hold after it
    CORRECTNESS = "correctness"  #: a promise was broken
    LIVENESS = "liveness"  #: after everything healed, something never ended
    NONDETERMINISM = "nondeterminism"  #: the same seed made another history


class SimulationFailure(Exception):
    """A run failed.

    Attributes:
        kind: What went wrong.
        promise: Which promise was broken (``P1`` …), or empty.
        story: What is known, for people.
    """

    def __init__(self, kind: Kind, story: str, promise: str = "") -> None:
        """Describe the failure."""
        super().__init__(f"{kind.value}{' of ' + promise if promise else ''}: {story}")
        self.kind = kind
        self.promise = promise
        self.story = story

    def __reduce__(self) -> tuple[type["SimulationFailure"], tuple[Kind, str, str]]:
        """Pickle by fields, as failures travel between processes."""
        return type(self), (self.kind, self.story, self.promise)


class Oracle:
    """One promise, watched from outside. Subclasses overwrite what they need.

    Attributes:
        promise: Its name in failures.
    """

    promise = ""

    def after_step(self, life: "Life", event: Event, effects: list[Effect]) -> None:
        """Look at one step of one process."""

    def at_rest(self) -> None:
        """Look at the world after everything healed and ended."""

    def require(self, held: bool, story: str, kind: Kind = Kind.CORRECTNESS) -> None:
        """Fail the run unless ``held``.

        Raises:
            SimulationFailure: It did not hold.
        """
        if not held:
            raise SimulationFailure(kind, story, self.promise)


class InOrderOnce(Oracle):
    """What is said on a channel is heard there in order, each thing once, from the beginning."""

    promise = "P1"

    def __init__(self) -> None:
        """Start without channels."""
        #: Channel -> what was said, in order. Added by ``said``; never removed.
        self._said: dict[Hashable, list[bytes]] = {}
        #: Channel -> how many of them were heard. Added by ``heard``; never removed.
        self._heard: dict[Hashable, int] = {}

    def said(self, channel: Hashable, what: bytes) -> None:
        """Note what was said."""
        self._said.setdefault(channel, []).append(what)

    def heard(self, channel: Hashable, what: bytes) -> None:
        """Check what was heard."""
        said, at = self._said.get(channel, []), self._heard.get(channel, 0)
        self.require(at < len(said), f"{channel}: heard {what!r} after all {at} were heard")
        self.require(said[at] == what, f"{channel}: heard {what!r} instead of {said[at]!r} at {at}")
        self._heard[channel] = at + 1

    def channels(self) -> list[Hashable]:
        """Return every channel on which something was said."""
        return list(self._said)

    def missing(self, channel: Hashable) -> int:
        """Return how much was said and not heard."""
        return len(self._said.get(channel, [])) - self._heard.get(channel, 0)


class Marks:
    """Counts of the marks that were reached while it collects; use as a context manager.

    Attributes:
        counts: Mark -> how often.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.counts: dict[str, int] = {}

    def __enter__(self) -> "Marks":
        """Collect from now on."""
        marks.collect_with(self._collect)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Collect no longer."""
        marks.collect_with(None)

    def _collect(self, mark: str) -> None:
        self.counts[mark] = self.counts.get(mark, 0) + 1
