"""`TypedActor`: the base class of actors whose handles type checkers know the methods of."""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from zgen.call_types import TypedOptions, TypedRemote


class TypedActor:
    """A base class for type checkers; where programs run it adds nothing.

    What ``.remote()`` of a class below it returns is typed as the class, with the methods that
    ``@zgen.method`` marks. It is an ``ActorHandle`` all the same, which ``isinstance`` knows.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        remote: ClassVar[TypedRemote]
        options: ClassVar[TypedOptions]
