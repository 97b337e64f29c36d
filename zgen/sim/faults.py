"""Seeded hardship: swarm options, and what breaks when.

Theory of operation. A run does not suffer everything: each seed switches a random part of the
hardships on (a swarm), since one that is always on hides what only shows without it. Strokes (cuts,
crashes, pauses) fall at random times on random processes until ``stop``, which also heals the
network.
"""

from collections.abc import Callable
from dataclasses import field
from random import Random
from typing import Final

from zgen.limits import MS
from zgen.sim.network import Rates
from zgen.sim.world import Life, World
from zgen.slotted import slotted

#: A stroke does something to the world and returns whether it found a victim.
Stroke = Callable[[], bool]

PAUSE_NS_MAX: Final = 400 * MS
BLACKOUT_NS_MAX: Final = 600 * MS


@slotted
class Hardship:
    """What a run suffers.

    Attributes:
        rates: The network while faults last.
        timer_late_ns_max: How late timers fire.
        every_ns: Name of a stroke -> mean time between two of it. Missing means never.
    """

    rates: Rates = field(default_factory=Rates)
    timer_late_ns_max: int = 0
    every_ns: dict[str, int] = field(default_factory=dict)


def draw_hardship(random: Random, strokes: dict[str, int]) -> Hardship:
    """Switch a random part of the hardships on.

    Args:
        random: The dice.
        strokes: Name of a stroke -> its mean time between two at its mildest.
    """
    hard = Hardship()
    rates = hard.rates
    if random.random() < 0.8:
        rates.loss = random.choice((0.01, 0.03, 0.1))
    if random.random() < 0.7:
        rates.repeat = random.choice((0.01, 0.05, 0.2))
    if random.random() < 0.6:
        rates.reorder = random.choice((0.02, 0.1, 0.3))
    rates.delay_ns_max = random.choice((1, 1, 5, 30)) * 200_000
    rates.survive = random.choice((0.0, 0.5, 0.5, 0.9, 1.0))
    hard.timer_late_ns_max = random.choice((0, 0, 1 * MS, 20 * MS))
    for name, mean_ns in strokes.items():
        if random.random() < 0.7:
            hard.every_ns[name] = mean_ns // random.choice((1, 1, 2, 4))
    return hard


class Faults:
    """Lets a hardship fall upon a world.

    Attributes:
        world: Whose dice and time are used.
        hardship: What it suffers.
        strokes: What each named stroke does, beside the two that every world has: ``cut`` and
            ``pause``.
        struck: How often each stroke found a victim.
    """

    def __init__(self, world: World, hardship: Hardship, strokes: dict[str, Stroke]) -> None:
        """Prepare; nothing happens before ``begin``."""
        self.world = world
        self.hardship = hardship
        self.strokes: dict[str, Stroke] = {
            "cut": world.network.cut,
            "pause": self._pause,
            "blackout": self._blackout,
            **strokes,
        }
        self.struck: dict[str, int] = {}
        self._on = False

    def begin(self) -> None:
        """Let it begin."""
        self._on = True
        self.world.network.rates = self.hardship.rates
        self.world.timer_late_ns_max = self.hardship.timer_late_ns_max
        for name in self.hardship.every_ns:
            self._arm(name)

    def stop(self) -> None:
        """Heal everything."""
        self._on = False
        self.world.network.heal()
        self.world.timer_late_ns_max = 0
        for life in list(self.world.lives.values()):
            self.world.wake(life)

    def _arm(self, name: str) -> None:
        mean_ns = self.hardship.every_ns[name]
        self.world.at(1 + int(self.world.random.random() * 2 * mean_ns), self._strike, (name,))

    def _strike(self, name: str) -> None:
        if self._on:
            if self.strokes[name]():
                self.struck[name] = self.struck.get(name, 0) + 1
            self._arm(name)

    def _pause(self) -> bool:
        life = self._anyone()
        if life is None or life.paused:
            return False
        self.world.pause(life, self.world.random.randrange(PAUSE_NS_MAX))
        return True

    def _blackout(self) -> bool:
        """Partition two processes, in one direction or both, or hold what one says to the other."""
        world, random = self.world, self.world.random
        one, other = self._anyone(), self._anyone()
        if one is None or other is None or one is other:
            return False
        names = (one.name, other.name)
        network = world.network
        how = random.randrange(3)
        if how == 0:
            network.partition(*names)
        elif how == 1:
            network.partition_oneway(*names)
        else:
            network.hold(*names)
        world.trace.note(world.now_ns, one.name, "*", f"apart from {other.name}: {how}")
        end = network.release if how == 2 else network.repair
        world.at(random.randrange(BLACKOUT_NS_MAX), end, names)
        return True

    def _anyone(self) -> Life | None:
        lives = list(self.world.lives.values())
        return self.world.random.choice(lives) if lives else None
