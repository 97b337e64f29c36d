"""State enum helper, legal moves, `move()`, bounded story, diagram export."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Generic, TypeVar

from zgen.ids import short
from zgen.limits import STORY_COUNT_MAX

S = TypeVar("S", bound=Enum)


class Lifecycle(Generic[S]):
    """One entity's state, with the moves that are legal and the last ones that were made.

    Attributes:
        state: Where it is.
    """

    __slots__ = ("_id", "_legal", "_name", "_story", "state")

    def __init__(
        self, name: str, legal: Mapping[S, tuple[S, ...]], state: S, which: bytes = b""
    ) -> None:
        """Start in ``state``; ``name`` and the id ``which`` stand in front of the story."""
        self.state = state
        self._name = name
        self._id = which
        self._legal = legal
        #: The last moves, four things each in one row; most entities make two moves and end.
        self._story: list[Any] = []

    def move(self, to: S, now_ns: int, cause: str) -> None:
        """Go to ``to``.

        Raises:
            AssertionError: The move is not legal; the message tells the story so far.
        """
        if to not in self._legal.get(self.state, ()):
            who = f"{self._name} {short(self._id)}" if self._id else self._name
            raise AssertionError(
                f"{who}: {self.state.name} -> {to.name} because of {cause}\n{self.story()}"
            )
        story = self._story
        story += now_ns, self.state, to, cause
        if len(story) > STORY_COUNT_MAX * 4:
            del story[:4]
        self.state = to

    def story(self) -> str:
        """Return the last moves, one a line."""
        moves = [iter(self._story)] * 4
        return "\n".join(
            f"{now_ns} {old.name} -> {new.name}: {cause}"
            for now_ns, old, new, cause in zip(*moves, strict=True)
        )


def diagram(name: str, legal: Mapping[S, tuple[S, ...]]) -> str:
    """Return a Mermaid state diagram of the legal moves."""
    lines = [f"stateDiagram-v2\n    %% {name}"]
    for state, moves in legal.items():
        lines.extend(f"    {state.name} --> {to.name}" for to in moves)
    return "\n".join(lines)
