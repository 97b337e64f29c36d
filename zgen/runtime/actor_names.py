"""Ask the node for actors by name, and wait for what it says.

Rules of this file: one question, one answer, or an error that says why none came. Who has which
name is the node's to say.
"""

import os
from collections.abc import Callable, Iterator
from typing import Final

from zgen.core.effects import Effect, NameAnswered
from zgen.core.events import FindActor, NameActor
from zgen.exceptions import StreamClosedError
from zgen.io.loop import Loop
from zgen.io.waiter import Waiter

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
        self.answer: NameAnswered | None = None


class ActorNames:
    """Questions of this process about names of actors.

    Attributes:
        namespace: Where names count that are given without one.
    """

    def __init__(
        self,
        loop: Loop,
        numbers: Iterator[int],
        refuse_if_lost: Callable[[], None],
        namespace: str,
    ) -> None:
        """Ask by ``loop``.

        Args:
            loop: What steps the machine.
            numbers: Gives each question one of its own.
            refuse_if_lost: Raises if the node is gone.
            namespace: What counts as ``namespace`` if the driver chose none.
        """
        self.namespace = os.environ.get(NAMESPACE, namespace)
        self._loop = loop
        self._refuse_if_lost = refuse_if_lost
        self._numbers = numbers
        #: Question -> who waits. Added by ``ask``; removed when he goes on. Process lock, but for
        #: that.
        self._asked: dict[int, Question] = {}

    def ask(self, event: Callable[[int], NameActor | FindActor]) -> NameAnswered:
        """Ask, wait, and return the answer.

        Args:
            event: Makes the question with its number.

        Raises:
            NodeDiedError: The node is gone.
            StreamClosedError: zgen was shut down meanwhile.
        """
        number = next(self._numbers)
        question = self._asked[number] = Question()
        try:
            self._refuse_if_lost()  # who finishes all has not seen this one, if it was before
            self._loop.post(event(number))
            self._loop.wait(question)
        finally:
            self._asked.pop(number, None)
        if question.answer is None:
            self._refuse_if_lost()
            raise StreamClosedError("", "zgen was shut down before the node knew of the name")
        return question.answer

    def perform_inside(self, effect: Effect) -> bool:
        """Hand an answer to who waits, under the process lock; return False for other effects."""
        if type(effect) is not NameAnswered:
            return False
        question = self._asked.get(effect.query)
        if question is not None:
            question.answer = effect
            question.finish()
        return True

    def finish_all(self) -> None:
        """End every wait: nothing will be answered any more."""
        for question in list(self._asked.values()):
            question.finish()
