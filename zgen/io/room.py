"""What bodies need of others to hand over large values: shared memory, and consumers with room.

Rules of this file: words only; who waits, and for how long, is decided by machines.
"""

from typing import Any, Protocol

from zgen.core.effects import StartTask
from zgen.core.stream_words import AskRoom
from zgen.ids import PeerId, StreamId
from zgen.io.serializer import Large
from zgen.wire.value import Stored, Value, whole_bytes


class Objects(Protocol):
    """Shared memory, as what runs tasks needs it."""

    def store(self, large: Large, owner: PeerId, stream: StreamId) -> Stored:
        """Write a value; it must be reported, or its region goes back as unused."""

    def unused(self, region: int) -> None:
        """Give a region back that no value will name."""

    def view(self, value: Stored) -> Any:
        """Return the object in a value for which a view is counted; the view goes if that fails."""

    def give_back(self, region: int) -> None:
        """Take back a view that is counted and will not be made."""


def room_for(start: StartTask, *values: Value | Large) -> AskRoom:
    """Return the question whether these may be yielded now, one of which is large."""
    large = [value for value in values if type(value) is Large]
    small = [value for value in values if type(value) is not Large]
    size_bytes = sum(len(value.data) + sum(value.sizes) for value in large)
    size_bytes += sum(map(whole_bytes, small))
    return AskRoom(start.task.task, start.task.attempt, size_bytes)
