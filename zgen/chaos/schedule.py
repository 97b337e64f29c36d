"""Which fault happens when: by rate from a seed, or at given times."""

import re
from random import Random
from typing import Final

from zgen.slotted import slotted

#: Fault -> what it is; those that last have how many seconds they do by default.
ACTIONS: Final[dict[str, tuple[str, float]]] = {
    "kill-worker": ("a worker is killed, one that works if there is one", 0.0),
    "kill-zygote": ("the process that workers are forked from is killed", 0.0),
    "kill-daemon": ("the daemon of a node is killed", 0.0),
    "kill-supervisor": ("the process that watches over a node is killed", 0.0),
    "kill-node": ("all processes of a node are killed at once", 0.0),
    "pause-worker": ("a worker is stopped, and goes on later", 2.0),
    "pause-node": ("all processes of a node but its supervisor are stopped, and go on later", 2.0),
    "cut": ("all tcp connections of a node are reset; as root", 0.0),
    "lose": ("every fifth message of a node is lost; it has to have ZGEN_CHAOS", 2.0),
    "delay": ("every message of a node is up to 0.2 s late; it has to have ZGEN_CHAOS", 2.0),
    "fill-store": ("the object store of a node is filled, and emptied later", 2.0),
}
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
#: Faults of one run.
FAULTS_COUNT_MAX: Final = 100_000


@slotted
class Fault:
    """One fault.

    Attributes:
        at_s: When, from the beginning.
        action: Which of ``ACTIONS``.
        lasts_s: For how long; 0 for a blow.
        die: A number that its victim is chosen by.
    """

    at_s: float
    action: str
    lasts_s: float
    die: int


def seconds(text: str) -> float:
    """Return the seconds in ``200ms``, ``5s``, ``1.5m``, ``1h`` or ``5``.

    Raises:
        ValueError: It is no time.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time, such as 200ms, 5s, 1.5m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def action_of(text: str) -> tuple[str, float]:
    """Return the fault in ``pause-node`` or ``pause-node:4s``, and how long it lasts.

    Raises:
        ValueError: There is no such fault, or it does not last.
    """
    name, _, lasts = text.partition(":")
    if name not in ACTIONS:
        raise ValueError(f"no fault {name!r}; there are {', '.join(ACTIONS)}")
    usual_s = ACTIONS[name][1]
    if lasts and not usual_s:
        raise ValueError(f"{name} is over at once, so {lasts!r} says nothing")
    return name, seconds(lasts) if lasts else usual_s


def at_times(texts: list[str], dice: Random) -> list[Fault]:
    """Return faults such as ``3s:kill-worker`` and ``10s:pause-node:2s``.

    Raises:
        ValueError: One makes no sense.
    """
    found: list[Fault] = []
    for text in texts:
        at, colon, action = text.partition(":")
        if not colon:
            raise ValueError(f"{text!r} must say when and what, such as 3s:kill-worker")
        name, lasts_s = action_of(action)
        found.append(Fault(seconds(at), name, lasts_s, dice.getrandbits(32)))
    return found


def by_rate(actions: list[str], every_s: float, for_s: float, dice: Random) -> list[Fault]:
    """Return faults at random times, as far apart as ``every_s`` on average.

    Raises:
        ValueError: A fault makes no sense, or there would be too many.
    """
    known = [action_of(action) for action in actions]
    if every_s <= 0 or for_s / every_s > FAULTS_COUNT_MAX:
        raise ValueError(f"a fault every {every_s:g} s for {for_s:g} s makes no sense")
    found: list[Fault] = []
    at_s = dice.expovariate(1 / every_s)
    while at_s < for_s:
        name, lasts_s = dice.choice(known)
        found.append(Fault(at_s, name, lasts_s, dice.getrandbits(32)))
        at_s += dice.expovariate(1 / every_s)
    return found
