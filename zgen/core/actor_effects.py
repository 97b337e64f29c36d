"""What a machine may ask for about actors; part of ``Effect``."""

from typing import TypeAlias

from zgen.ids import ActorId
from zgen.slotted import slotted
from zgen.wire.session import Address


@slotted
class NameAnswered:
    """Answer to ``NameActor`` and ``FindActor``.

    Attributes:
        query: Number of the question.
        actor: The actor that has the name: after ``NameActor`` the new one or another one that was
            first; zeroes if none has it.
        creator: Who supervises that actor; of no meaning if there is none.
        description: What a handle needs to know of it.
        refusal: Why it cannot be told, or the name not be given; else empty.
    """

    query: int
    actor: ActorId
    creator: Address
    description: bytes
    refusal: str = ""


@slotted
class ActorOver:
    """The actor of this worker has run all it was given: let the process end in peace."""


ActorEffect: TypeAlias = NameAnswered | ActorOver
