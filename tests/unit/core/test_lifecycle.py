"""Lifecycles: legal moves only, and a story when one is not."""

from __future__ import annotations

from enum import Enum

import pytest

from zgen.core.lifecycle import Lifecycle, diagram
from zgen.limits import STORY_COUNT_MAX


class Lamp(Enum):
    OFF = "off"
    ON = "on"
    BROKEN = "broken"


LEGAL = {Lamp.OFF: (Lamp.ON,), Lamp.ON: (Lamp.OFF, Lamp.BROKEN)}


def test_legal_moves_change_the_state_and_are_told() -> None:
    lamp = Lifecycle("lamp", LEGAL, Lamp.OFF)
    assert lamp.story() == ""
    lamp.move(Lamp.ON, 5, "switch")
    lamp.move(Lamp.BROKEN, 7, "hammer")
    assert lamp.state is Lamp.BROKEN
    assert lamp.story() == "5 OFF -> ON: switch\n7 ON -> BROKEN: hammer"


@pytest.mark.parametrize("start", [Lamp.OFF, Lamp.BROKEN])
def test_an_illegal_move_tells_the_story_and_changes_nothing(start: Lamp) -> None:
    lamp = Lifecycle("lamp", LEGAL, start)
    with pytest.raises(AssertionError, match=f"lamp: {start.name} -> BROKEN because of hammer"):
        lamp.move(Lamp.BROKEN, 1, "hammer")
    assert lamp.state is start
    assert lamp.story() == ""


def test_the_story_is_bounded_and_keeps_the_last_moves() -> None:
    lamp = Lifecycle("lamp", LEGAL, Lamp.OFF)
    for number in range(2 * STORY_COUNT_MAX):
        lamp.move(Lamp.OFF if lamp.state is Lamp.ON else Lamp.ON, number, "switch")
    lines = lamp.story().splitlines()
    assert len(lines) == STORY_COUNT_MAX
    assert lines[-1].startswith(f"{2 * STORY_COUNT_MAX - 1} ")
    lamp.move(Lamp.ON, 99, "switch")
    with pytest.raises(AssertionError, match="99 OFF -> ON: switch"):
        lamp.move(Lamp.ON, 100, "switch")


def test_the_diagram_shows_every_legal_move() -> None:
    assert diagram("lamp", LEGAL).splitlines() == [
        "stateDiagram-v2",
        "    %% lamp",
        "    OFF --> ON",
        "    ON --> OFF",
        "    ON --> BROKEN",
    ]
