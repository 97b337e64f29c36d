"""One stream that its owner has lent: what `lending` keeps of each loan."""

from collections import deque
from dataclasses import field

from zgen.ids import ObjectId, PeerId
from zgen.slotted import slotted

#: What those are told who come with a loan that has ended.
OVER = "the right to read it has gone back to its owner"
#: And those that have handed it on.
PASSED = "it was passed on to another task"
#: Where nobody has claimed it.
UNCLAIMED = "it was passed to a task that has not begun to read it"


@slotted
class LentStream:
    """One stream that is lent.

    Attributes:
        ticket: Object that lives as long as anybody may come with the generator.
        epoch: Which loan.
        position: Items that were taken for good.
        hop: How often it was passed on, as far as is known here.
        holder: Who may take items now; None while nobody has claimed it.
        claim: Number of its claim.
        who: What the holder is, for people.
        begun: ``position`` when this holder came.
        wanted: Items that the holder has room for are those before this position.
        sent: And those before this one it was sent.
        is_end_told: Whether it knows that none will follow.
        large: No more is taken out of the table before the holder has come to this position.
        items: What was taken out of the table from ``position`` on.
    """

    ticket: ObjectId
    epoch: int
    position: int
    hop: int = 0
    holder: PeerId | None = None
    claim: int = 0
    who: str = ""
    begun: int = 0
    wanted: int = 0
    sent: int = 0
    is_end_told: bool = False
    large: int = 0
    items: deque[ObjectId] = field(default_factory=deque)


def may_claim(lent: LentStream, hop: int, chain: tuple[PeerId, ...]) -> bool:
    """Return whether who comes with this hop, by way of ``chain``, holds the stream from now on."""
    if hop < lent.hop:
        return False
    return lent.holder is None or chain[lent.hop : lent.hop + 1] == (lent.holder,)
