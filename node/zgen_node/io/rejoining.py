"""What a node that was declared dead leaves for its supervisor: where another one joins."""

import json
import os
from typing import Final

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
