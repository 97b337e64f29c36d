"""Ask the node for its state and that of its processes, or for actors by name, and wait.

Rules of this file: one question, one answer, or an error that says why none came. What is true is
the node's to say.
"""

import itertools
import os
from collections.abc import Callable
from typing import Final

from zgen.core.actor_effects import CharterCame, NameAnswered
from zgen.core.actor_events import DetachNow, FindActor, NameActor, WantCharter
from zgen.core.effects import Effect, NodeAnswered
from zgen.core.events import AskNode
from zgen.core.state_words import AskState, StateCame
from zgen.exceptions import GetTimeoutError, NodeDiedError, StreamClosedError
from zgen.io import clock
from zgen.io.loop import Loop
from zgen.io.waiter import Waiter
from zgen.limits import SECOND, STATE_GRACE_NS
from zgen.wire.state import StateRows, StateTold

#: Environment variable that tells a job's workers the namespace that its driver chose.
NAMESPACE: Final = "ZGEN_NAMESPACE"


class Question(Waiter):
    """Waits for one answer.

    Attributes:
        answer: The answer, or None.
    """

    __slots__ = ("answer",)

    def __init__(self) -> None:
        """Start without an answer."""
        super().__init__()
        self.answer: NameAnswered | CharterCame | NodeAnswered | None = None


class Survey(Waiter):
    """Waits for what the processes of a cluster say.

    Attributes:
        parts: What they said.
        told: What each node says of them.
        is_whole: Whether all nodes have.
    """

    __slots__ = ("is_whole", "parts", "told")

    def __init__(self) -> None:
        """Start without answers."""
        super().__init__()
        self.parts: list[StateRows] = []
        self.told: list[StateTold] = []
        self.is_whole = False


class Questions:
    """What this process asks its node.

    Attributes:
        namespace: Where names of actors count that are given without one.
    """

    def __init__(self, loop: Loop, refuse_if_lost: Callable[[], None], namespace: str) -> None:
        """Ask by ``loop``.

        Args:
            loop: What steps the machine.
            refuse_if_lost: Raises if the node is gone.
            namespace: What counts as ``namespace`` if the driver chose none.
        """
        self.namespace = os.environ.get(NAMESPACE, namespace)
        self._loop = loop
        self._refuse_if_lost = refuse_if_lost
        self._numbers = itertools.count(1)
        #: Question -> who waits. Added by ``_ask``; removed when he goes on.
        self._asked: dict[int, Question] = {}
        #: The same for what processes are asked. Removed when he goes on.
        self._surveys: dict[int, Survey] = {}

    def ask_node(self, timeout_s: float) -> str | None:
        """Return the node's state as JSON, or None if it does not answer in time.

        Every line that a worker printed before has been shown when this returns.
        """
        try:
            answer = self._ask(AskNode, clock.now_ns() + int(timeout_s * SECOND))
        except NodeDiedError:
            return None
        return answer.state if isinstance(answer, NodeAnswered) else None

    def ask_name(self, event: Callable[[int], NameActor | FindActor | DetachNow]) -> NameAnswered:
        """Return what the node says of a name.

        Args:
            event: Makes the question with its number.

        Raises:
            NodeDiedError: The node is gone.
            StreamClosedError: zgen was shut down meanwhile.
        """
        answer = self._ask(event, None)
        if not isinstance(answer, NameAnswered):
            self._refuse_if_lost()
            raise StreamClosedError("", "zgen was shut down before the node knew of the name")
        return answer

    def ask_charter(self) -> CharterCame:
        """Return what this process is to keep, which is the keeper of a detached actor.

        Raises:
            NodeDiedError: The node is gone.
        """
        answer = self._ask(WantCharter, None)
        if not isinstance(answer, CharterCame):
            self._refuse_if_lost()
            raise StreamClosedError("", "zgen was shut down before the node answered")
        return answer

    def ask_state(
        self, what: str, limit: int, patience_s: float
    ) -> tuple[list[StateRows], list[StateTold]]:
        """Return what the processes of the cluster own, as they say it, and who they are, by node.

        Args:
            what: What is to be listed.
            limit: Rows that each process tells at most.
            patience_s: How long to wait for each; the node gets some more.

        Raises:
            NodeDiedError: The node is gone.
            GetTimeoutError: It does not answer.
            StreamClosedError: zgen was shut down meanwhile.
        """
        number = next(self._numbers)
        survey = self._surveys[number] = Survey()
        patience_ns = round(patience_s * SECOND)
        deadline_ns = clock.now_ns() + patience_ns + STATE_GRACE_NS
        try:
            self._refuse_if_lost()
            self._loop.post(AskState(number, what, limit, patience_ns))
            in_time = self._loop.wait(survey, deadline_ns)
        finally:
            self._surveys.pop(number, None)
        if survey.is_whole:
            return survey.parts, survey.told
        self._refuse_if_lost()
        if in_time:
            raise StreamClosedError("", "zgen was shut down before the node answered")
        raise GetTimeoutError(f"the node did not answer a question about {what}")

    def _ask(
        self,
        event: Callable[[int], NameActor | FindActor | DetachNow | WantCharter | AskNode],
        deadline_ns: int | None,
    ) -> NameAnswered | CharterCame | NodeAnswered | None:
        number = next(self._numbers)
        question = self._asked[number] = Question()
        try:
            self._refuse_if_lost()  # who finishes all has not seen this one, if it was before
            self._loop.post(event(number))
            self._loop.wait(question, deadline_ns)
        finally:
            self._asked.pop(number, None)
        return question.answer

    def perform(self, effect: Effect) -> bool:
        """Hand an answer to who waits; return False for other effects."""
        if isinstance(effect, StateCame):
            self._came(effect.said)
            return True
        if not isinstance(effect, (NameAnswered, CharterCame, NodeAnswered)):
            return False
        question = self._asked.get(effect.query)
        if question is not None:
            question.answer = effect
            question.finish()
        return True

    def _came(self, said: StateRows | StateTold) -> None:
        survey = self._surveys.get(said.query)
        if survey is None:
            return
        if isinstance(said, StateRows):
            survey.parts.append(said)
        else:
            survey.told.append(said)
            if len(survey.told) >= said.nodes_count:
                survey.is_whole = True
                survey.finish()

    def finish_all(self) -> None:
        """End every wait: nothing will be answered any more."""
        for question in [*self._asked.values(), *self._surveys.values()]:
            question.finish()
