"""References between processes: who borrows an object, what its value is, who is done with it.

The process that made an object's first reference *owns* it; every other process that has one
*borrows* it, and counts what it was lent in *credits*. A value that contains references lends each
of them to its receiver. If the sender owns the object, it counts one credit for the receiver as it
sends. If it does not, it keeps its own borrow until the owner has counted the receiver::

    (value)         A -> B    A borrows from C, and keeps its borrow
    AddBorrowers    B -> C    B has a credit that A lent to it
    LoansTaken      C -> A    counted: A need not keep the object for B any more
    ReturnBorrows   B -> C    B is done: here are its credits

All that B says of an object travels on its line to C, in order, so that C counts a credit before it
hears of its return.
"""

from zgen.ids import NO_ACTOR, NO_PEER, ActorId, ObjectId, PeerId
from zgen.wire.schema import NO_BUFFERS, Buffers, Entry, message, record
from zgen.wire.session import Address


@message(0x1F)
class WatchProcess:
    """Any -> node: tell me of the end of this process, once; at once if it is dead.

    Attributes:
        peer: The process.
        incarnation: Its life.
        node: The daemon of that process; zeroes for the one that is asked.
    """

    peer: PeerId
    incarnation: int
    node: PeerId = NO_PEER


@message(0x50)
class AddBorrowers:
    """Borrower -> owner: I have one credit more for each of these.

    Attributes:
        lender: Who sent me the references, and keeps the objects until you have counted. You may
            hear of it here first: its own word is on another line.
        objects: The objects, once for each credit.
    """

    lender: Address
    objects: tuple[ObjectId, ...]


@message(0x51)
class LoansTaken:
    """Owner -> lender: I have counted a credit of the borrower for each of these.

    Attributes:
        borrower: Whom they were lent to.
        objects: The objects, as ``AddBorrowers`` named them.
    """

    borrower: PeerId
    objects: tuple[ObjectId, ...]


@message(0x52)
class ReturnBorrows:
    """Borrower -> owner: nothing of mine refers to these any more.

    Attributes:
        objects: The objects, and how many credits I had for each.
    """

    objects: tuple[tuple[ObjectId, int], ...]


@message(0x53)
class WantObjects:
    """Borrower -> owner: tell me the values of these, each as soon as it is there.

    Attributes:
        objects: The objects.
    """

    objects: tuple[ObjectId, ...]


@record
class FaultSaid:
    """An error that a state machine decided on; the fields are those of ``wire.value.Fault``."""

    kind: str
    name: str
    reason: str
    pid: int
    exit_code: int
    signal: int
    attempts: int
    expected: int
    got: int
    may_have_run: bool
    actor: ActorId = NO_ACTOR
    init_failed: bool = False
    history: tuple[str, ...] = ()
    rss_bytes: int = 0
    limit_bytes: int = 0
    why: str = ""


@message(0x54)
class ObjectIs:
    """Owner -> borrower: the value that you wanted.

    Attributes:
        object: The object.
        entries: Its value, or the error under a fault; none for a fault with no such error.
        faults: None for a value; a fault, and the fault that caused it.
        buffers: Buffers of the entry.
    """

    object: ObjectId
    entries: tuple[Entry, ...]
    faults: tuple[FaultSaid, ...] = ()
    buffers: Buffers = NO_BUFFERS


@message(0x55)
class ObjectsGone:
    """Owner -> borrower: I do not have these, or not any more.

    Attributes:
        objects: The objects.
        reason: For people.
    """

    objects: tuple[ObjectId, ...]
    reason: str


@message(0x56)
class KeepWorker:
    """Worker -> node: do not end me for being idle while others refer to what I own.

    Nor while tasks have not ended that I submitted.

    Attributes:
        needed: True from the first such reference or task, False when there is none any more.
    """

    needed: bool


@message(0x58)
class ObjectsLost:
    """Borrower -> owner: where you said that these lie they are gone; tell their values again.

    Attributes:
        objects: The objects, and the region in which each of them lay.
        reason: What the borrower was told of their loss.
    """

    objects: tuple[tuple[ObjectId, int], ...]
    reason: str
