"""`DynamicObjectRefGenerator`: references to all that a task has yielded, once it has ended."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from zgen.handles import ObjectRef, unpickled
from zgen.ids import ObjectId

T = TypeVar("T")


class DynamicObjectRefGenerator(Generic[T]):
    """References to the items of a generator task that has ended, in yield order.

    The value of the one reference that a call with ``num_returns="dynamic"`` returns. It can be
    iterated any number of times, counted and passed on; the items live as long as it does, or a
    reference to them. If the body raised, the last reference is the error.
    """

    def __init__(self, refs: list[ObjectRef[T]]) -> None:
        """Made by zgen only."""
        self._refs = refs

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        """Iterate over the references."""
        return iter(self._refs)

    def __len__(self) -> int:
        """Count the references."""
        return len(self._refs)

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"DynamicObjectRefGenerator({len(self._refs)} references)"


def gathered(*names: ObjectId) -> DynamicObjectRefGenerator[object]:
    """Return what a gathered value is unpickled to; ``zgen.core.gathering`` names this function."""
    return DynamicObjectRefGenerator([unpickled(name) for name in names])
