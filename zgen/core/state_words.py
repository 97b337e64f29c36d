"""What may happen to a process, and be asked of it, about state; part of `Event` and `Effect`."""

from zgen.slotted import slotted
from zgen.wire.state import StateRows, StateTold


# -- events ----------------------------------------------------------------------------------------
@slotted
class AskState:
    """Ask the node what processes own; parts of the answer come as ``StateCame``.

    Attributes:
        query: Number of the question.
        what: What is to be listed.
        limit: Rows that each process tells at most.
        patience_ns: How long to wait for each.
        everywhere: Whether the processes of other nodes are asked too.
    """

    query: int
    what: str
    limit: int
    patience_ns: int
    everywhere: bool = True


# -- effects ---------------------------------------------------------------------------------------
@slotted
class StateCame:
    """A part of the answer to ``AskState``; there is a ``StateTold`` for each node.

    Attributes:
        said: What was said.
    """

    said: StateRows | StateTold
