"""One fault at one message: of a kind, the n-th of it in a world, whoever sends it.

Rules of this file: which message, and that it was hit. What is done to its frames is done by the
same ``Harm`` that real processes have. A kind that travels inside others, as what a node has others
know does inside words of membership, is hit with the message that carries it.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from zgen.mishaps.catalogue import ANSWERS, Action, kind_of, names
from zgen.mishaps.dice import Verdict
from zgen.mishaps.harm import Harm
from zgen.sim.world import Life, World
from zgen.wire.codec import decode
from zgen.wire.membership import JoinRequest
from zgen.wire.schema import KINDS

#: Kind that members carry for nodes.
CARRIED: Final = "NodeState"


class Crash(Enum):
    """A party of a message that dies by it."""

    SENDER_BEFORE = "sender dies before it leaves"
    SENDER_AFTER = "sender dies after it left"
    RECEIVER_BEFORE = "receiver dies before it comes"
    RECEIVER_AFTER = "receiver dies after it came"


Fault = Action | Crash
#: Returns what ends a life so that its scenario goes on, or None if it would not.
Ender = Callable[[Life], Callable[[], None] | None]


class Aim:
    """A fault that waits for its message.

    Attributes:
        seen: How many messages of each kind left for the first time, by name.
        hits: How often the fault was made: once, in the end.
    """

    def __init__(
        self, world: World, kind: str, fault: Fault | None, nth: int, delay_ns: int, ender: Ender
    ) -> None:
        """Aim at every process of ``world`` that is still to start.

        Args:
            world: Where.
            kind: Name of the kind.
            fault: What is done; None to count only.
            nth: To which message of the kind, from 0; if it cannot be done to that one, to the next
                that it can be done to.
            delay_ns: For how long a delayed one is late.
            ender: Ends lives for a ``Crash``.
        """
        known = names()
        self.seen: dict[str, int] = {}
        self.hits = 0
        self.kind: Final = next(number for number, name in known.items() if name == kind)
        self.fault: Final = fault
        self.nth: Final = nth
        self.delay_ns: Final = delay_ns
        self.world: Final = world
        self._names: Final = known
        self._ender = ender
        self._carriers: Final = tuple(
            number for number in known if KINDS[number].cls.__module__ == JoinRequest.__module__
        )
        self.answers: Final = tuple(
            number for number, name in known.items() if name in ANSWERS.get(kind, ())
        )
        world.harm_of = self._harm_of

    @property
    def is_due(self) -> bool:
        """Whether a message of the kind is to be hit."""
        return not self.hits and self.seen.get(self._names[self.kind], 0) > self.nth

    def end(self, life: Life, *, at_once: bool) -> bool:
        """End a life because of the message, at once or behind its step; return whether it can."""
        act = None if life.dead else self._ender(life)
        if act is None:
            return False
        self.hits += 1
        if at_once:
            act()
        else:
            self.world.at(0, _if_alive, (life, act))
        return True

    def _harm_of(self, life: Life) -> Harm:
        kind = self._kind_carried if self._names[self.kind] == CARRIED else kind_of
        return Harm(_AimedAt(self, life), self._note, kind)

    def _kind_carried(self, body: bytes) -> int:
        """Return the kind of what a message carries, or its own."""
        kind = kind_of(body)
        if kind not in self._carriers:
            return kind
        message = decode([body])
        words = (message.member,) if isinstance(message, JoinRequest) else ()
        words += getattr(message, "alive", ()) + getattr(message, "members", ())
        return self.kind if any(word.payload for word in words) else kind

    def _note(self, kind: int, action: Action | None) -> None:
        if action is None:
            name = self._names.get(kind, "")
            self.seen[name] = self.seen.get(name, 0) + 1
        elif isinstance(self.fault, Action):
            self.hits += 1


def _if_alive(life: Life, act: Callable[[], None]) -> None:
    if not life.dead:
        act()


class _AimedAt:
    """The judge of one process."""

    def __init__(self, aim: Aim, life: Life) -> None:
        self._aim = aim
        self._life = life
        self._asked = False
        self._is_doomed = False

    def on_send(self, kind: int, *, again: bool, kept: bool) -> Verdict | None:
        """Hit the message if it is the one, or the answer to it."""
        aim, fault = self._aim, self._aim.fault
        if fault is Action.REPLY_DROP:
            if not again and self._asked and kind in aim.answers and not aim.hits:
                return Verdict(fault, aim.kind)
            return None
        if self._is_doomed:
            return Verdict(Action.DROP, kind)
        if again or kind != aim.kind or not aim.is_due:
            return None
        if isinstance(fault, Action):
            return Verdict(fault, kind, aim.delay_ns if fault is Action.DELAY else 0)
        if fault is Crash.SENDER_AFTER:
            aim.end(self._life, at_once=False)
        if fault is Crash.SENDER_BEFORE:
            # Its step goes on, and nothing of it leaves any more.
            self._is_doomed = aim.end(self._life, at_once=False)
        return Verdict(Action.DROP, kind) if self._is_doomed else None

    def on_receive(self, kind: int, *, kept: bool) -> bool:
        """Lose the acknowledgement of the message, or its receiver, if it is the one."""
        aim, fault = self._aim, self._aim.fault
        if kind != aim.kind or not aim.is_due:
            return False
        if fault is Crash.RECEIVER_BEFORE:
            aim.end(self._life, at_once=True)
        elif fault is Crash.RECEIVER_AFTER:
            aim.end(self._life, at_once=False)
        elif fault is Action.REPLY_DROP:
            self._asked = True
            return kept and not aim.answers
        return False
