"""A question about state ends with an answer, or with an error that says why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from zgen.core.effects import Effect
from zgen.core.state_words import AskState, StateCame
from zgen.exceptions import GetTimeoutError, NodeDiedError, StreamClosedError
from zgen.ids import PeerId
from zgen.io.loop import Loop
from zgen.io.waiter import Waiter
from zgen.runtime.questions import Questions
from zgen.wire.state import OBJECTS, StateRows, StateTold

NODE, EAST = PeerId(bytes(16)), PeerId(bytes(15) + b"e")


class FakeLoop:
    """Lets the test answer while somebody waits."""

    def __init__(self, while_waiting: Callable[[AskState], bool]) -> None:
        self.while_waiting = while_waiting

    def post(self, event: AskState) -> list[Effect]:
        self.event = event
        return []

    def wait(self, waiter: Waiter, deadline_ns: int | None) -> bool:
        return self.while_waiting(self.event)


def asking(
    while_waiting: Callable[[Questions, AskState], bool], is_lost: bool = False
) -> tuple[list[StateRows], list[StateTold]]:
    """Ask, and answer so; the node is lost meanwhile if ``is_lost``."""
    lost = False

    def refuse() -> None:
        if lost:
            raise NodeDiedError("", "it died", may_have_run=False)

    def wait(event: AskState) -> bool:
        nonlocal lost
        lost = is_lost
        return while_waiting(questions, event)

    questions = Questions(cast(Loop, cast(Any, FakeLoop(wait))), refuse, "space")
    return questions.ask_state(OBJECTS, 10, 1.0)


def test_the_parts_of_an_answer_are_gathered() -> None:
    def answer(questions: Questions, event: AskState) -> bool:
        here, there = StateTold(event.query, NODE, (), 2), StateTold(event.query, EAST, (), 2)
        for said in (StateRows(event.query, NODE, True), here, there):
            assert questions.perform(StateCame(said))
        assert questions.perform(StateCame(StateTold(99, NODE, ())))  # nobody asked
        return True

    parts, told = asking(answer)
    assert (len(parts), [each.node for each in told]) == (1, [NODE, EAST])


def test_a_node_that_does_not_answer_in_time_is_an_error() -> None:
    with pytest.raises(GetTimeoutError, match="objects"):
        asking(lambda questions, event: False)


def test_a_shutdown_meanwhile_is_an_error() -> None:
    def shut_down(questions: Questions, event: AskState) -> bool:
        questions.finish_all()
        return True

    with pytest.raises(StreamClosedError, match="shut down"):
        asking(shut_down)


def test_a_node_that_dies_meanwhile_is_an_error() -> None:
    with pytest.raises(NodeDiedError):
        asking(lambda questions, event: True, is_lost=True)
