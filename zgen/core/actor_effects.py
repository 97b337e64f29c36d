"""What a machine may ask for about actors; part of ``Effect``."""

from typing import TypeAlias

from zgen.ids import ActorId
from zgen.slotted import slotted
from zgen.wire.session import Address


@slotted
class NameAnswered:
    """Answer to ``NameActor``, ``FindActor`` and ``DetachNow``.

    Attributes:
        query: Number of the question.
        actor: The actor that has the name: after ``NameActor`` the new one or another one that was
            first; zeroes if none has it.
        creator: Who supervises that actor; of no meaning if there is none.
        description: What a handle needs to know of it.
        refusal: Why it cannot be told, or the name not be given; else empty.
        is_new: Whether it is the detached actor that was asked for.
    """

    query: int
    actor: ActorId
    creator: Address
    description: bytes
    refusal: str = ""
    is_new: bool = False


@slotted
class CharterCame:
    """Answer to ``WantCharter``.

    Attributes:
        query: Number of the question.
        payload: Class, options and arguments of the actor that this process keeps, pickled.
        restarts: How often it was created again before.
    """

    query: int
    payload: bytes
    restarts: int


@slotted
class ActorOver:
    """The actor of this worker has run all it was given: let the process end in peace."""


ActorEffect: TypeAlias = NameAnswered | CharterCame | ActorOver
