"""What a node that was declared dead leaves for its supervisor: where another one joins."""

import json
import os
from collections.abc import Sequence
from typing import Final

from zgen_node.limits import SEEDS_COUNT_MAX

#: In the session folder.
_FILE: Final = "rejoin.json"


def note_rejoin(folder: str, endpoints: tuple[str, ...]) -> None:
    """Have the supervisor start a node that joins by ``endpoints`` in place of this one."""
    with open(os.path.join(folder, _FILE), "w", encoding="utf-8") as file:
        json.dump(endpoints, file)


def noted_rejoin(folder: str) -> list[str] | None:
    """Return by which endpoints a node joins in place of the one in ``folder``; None for no."""
    try:
        with open(os.path.join(folder, _FILE), encoding="utf-8") as file:
            found: list[str] = json.load(file)
    except FileNotFoundError:
        return None
    return found


def bounded_seeds(seeds: Sequence[str]) -> list[str]:
    """Return seeds once each; of too many the first and the last ones."""
    found = list(dict.fromkeys(seeds))
    half = SEEDS_COUNT_MAX // 2
    return found if len(found) <= SEEDS_COUNT_MAX else [*found[:half], *found[-half:]]
