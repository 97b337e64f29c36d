"""What a mutant is: one fence, its removal, and the seed that turns red without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fence.

    Attributes:
        name: What it does.
        promise: Which promise it serves.
        file: Where it stands.
        text: Its source, which must occur once.
        without: What stands there when it is removed.
        scenario: What the seed runs.
        seed: The seed that turns red without it.
    """

    name: str
    promise: str
    file: str
    text: str
    without: str
    scenario: str
    seed: int
