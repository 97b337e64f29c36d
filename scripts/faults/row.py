"""What a row is: a fault, what has to come of it, and how it is made."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

#: Seconds that anything may take that has no bar of its own, before the row fails.
PATIENCE_S: Final = 60.0


class NotMadeError(Exception):
    """The fault did not happen, so that the row says nothing."""


@dataclass(frozen=True)
class Setting:
    """How a row is run.

    Attributes:
        seed: What its dice follow from.
        quick: Whether it makes fewer faults; its figures then mean less.
        long: Whether it lasts as long as its bar says, where that is very long.
    """

    seed: int
    quick: bool
    long: bool = False

    def dice(self) -> random.Random:
        """Return fresh dice."""
        return random.Random(self.seed)


@dataclass(frozen=True)
class Outcome:
    """What came of a row.

    Attributes:
        good: Whether it is at its bar.
        told: The figures as people read them.
        figures: The same by name, with units in the names.
    """

    good: bool
    told: str
    figures: Mapping[str, float] = field(default_factory=dict)


class SkippedError(Exception):
    """The row cannot be run here; the text says why."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        fault: What is done.
        bar: What has to come of it.
        run: Does it.
    """

    fault: str
    bar: str
    run: Callable[[Setting], Outcome]


def made(happened: bool, what: str) -> None:
    """Take note that a fault happened.

    Raises:
        NotMadeError: It did not.
    """
    if not happened:
        raise NotMadeError(what)


def middle(values: list[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2]


def high(values: list[float], share: float = 0.99) -> float:
    """Return the value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
