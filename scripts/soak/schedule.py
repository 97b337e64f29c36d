"""Which fault happens when: a list that follows from a seed, and from nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

#: Nodes that are away or unreachable at a time, at most.
AWAY_MAX: Final = 2


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        weight: How often it is chosen, beside the others.
        lasts_s: For how long, from and to; a node that was killed is replaced after that.
        settles_s: How long its nodes are spared afterwards.
        takes: How many nodes it befalls.
        is_away: Whether these do no work meanwhile.
        is_cut: Whether it cuts links; there is one such fault at a time.
        told: What it is, for the table.
    """

    weight: int
    told: str
    lasts_s: tuple[float, float] = (0.0, 0.0)
    settles_s: float = 1.0
    takes: int = 1
    is_away: bool = False
    is_cut: bool = False


KINDS: Final = {
    "worker": Kind(30, "worker killed"),
    "stop": Kind(8, "worker stopped for 1 to 8 s", (1.0, 8.0)),
    "zygote": Kind(7, "zygote killed", settles_s=2.0),
    "daemon": Kind(7, "daemon killed, node replaced", (1.0, 4.0), 3.0, is_away=True),
    "supervisor": Kind(3, "supervisor killed, node replaced", (1.0, 4.0), 3.0, is_away=True),
    "node": Kind(8, "all of a node killed, and replaced", (1.0, 4.0), 3.0, is_away=True),
    "leave": Kind(4, "node takes its leave, and is replaced", (0.5, 2.0), 3.0, is_away=True),
    "nap": Kind(6, "node asleep for 2 to 4 s", (2.0, 4.0), 4.0),
    "sleep": Kind(4, "node asleep for 14 s, comes back", (14.0, 14.0), 12.0, is_away=True),
    "reset": Kind(10, "all connections reset, of one node or all"),
    "blip": Kind(6, "node cut off for 2 to 4 s", (2.0, 4.0), 4.0, is_cut=True),
    "cut": Kind(4, "node cut off for 14 s, comes back", (14.0, 14.0), 12.0, 1, True, True),
    "one-way": Kind(5, "link cut one way for 8 to 14 s", (8.0, 14.0), 4.0, 2, is_cut=True),
    "split": Kind(2, "two nodes cut off for 14 s", (14.0, 14.0), 12.0, 2, True, True),
}
#: What the table tells together of how soon all went on.
GROUPS: Final = {
    "after kills of workers and zygotes": ("worker", "zygote"),
    "after deaths and leaves of nodes": ("daemon", "supervisor", "node", "leave"),
    "after what lasts 1 to 8 s": ("stop", "nap", "reset", "blip"),
    "after what lasts 8 to 14 s": ("sleep", "cut", "one-way", "split"),
}
#: Those that take network namespaces.
OF_LINKS: Final = ("reset", "blip", "cut", "one-way", "split")


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        at_s: When, from the beginning.
        kind: Which of ``KINDS``.
        slots: Numbers of the nodes that it befalls.
        die: A number that it chooses by, such as which worker.
        lasts_s: For how long.
    """

    at_s: float
    kind: str
    slots: tuple[int, ...]
    die: int
    lasts_s: float

    @property
    def until_s(self) -> float:
        """When it is over."""
        return self.at_s + self.lasts_s

    def __str__(self) -> str:
        """Say which, and on which nodes."""
        nodes = "+".join(map(str, self.slots))
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.at_s:7.1f} s: {self.kind} of {nodes}{lasts}"


def schedule(
    seed: int, seconds: float, every_s: float, nodes: int, kinds: tuple[str, ...]
) -> list[Fault]:
    """Return the faults of a soak in the order of their times.

    Args:
        seed: What it follows from.
        seconds: How long the soak lasts; all faults are over before.
        every_s: Mean time from one fault to the next.
        nodes: How many nodes there are.
        kinds: Kinds to choose from.
    """
    dice = random.Random(f"faults {seed}")
    found: list[Fault] = []
    spared_s = [0.0] * nodes
    away_s = [0.0] * nodes
    cut_s = at_s = 0.0
    while True:
        at_s += min(3 * every_s, max(0.2, dice.expovariate(1 / every_s)))
        free = [slot for slot in range(nodes) if spared_s[slot] <= at_s]
        away = sum(until > at_s for until in away_s)
        fits = [
            kind
            for kind in kinds
            if KINDS[kind].takes <= len(free)
            and (not KINDS[kind].is_away or away + KINDS[kind].takes <= AWAY_MAX)
            and not (KINDS[kind].is_cut and cut_s > at_s)
        ]
        if at_s >= seconds:
            return found
        if not fits:
            continue
        name = dice.choices(fits, [KINDS[kind].weight for kind in fits])[0]
        kind = KINDS[name]
        lasts_s = dice.uniform(*kind.lasts_s)
        slots = tuple(dice.sample(free, kind.takes))
        fault = Fault(at_s, name, slots, dice.randrange(1 << 30), lasts_s)
        if fault.until_s >= seconds:
            continue
        found.append(fault)
        if kind.is_cut:
            cut_s = fault.until_s + 1.0
        for slot in slots if lasts_s else ():
            away_s[slot] = fault.until_s if kind.is_away else 0.0
            spared_s[slot] = fault.until_s + kind.settles_s
        # Nodes are replaced when no link is cut, since new ones would reach both sides.
        for slot in range(nodes) if cut_s > at_s else ():
            if away_s[slot] > at_s:
                away_s[slot] = max(away_s[slot], cut_s)
                spared_s[slot] = max(spared_s[slot], cut_s + KINDS["node"].settles_s)
