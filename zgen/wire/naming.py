"""Names of actors between nodes: who holds which name for whom, and what is asked about it."""

from typing import Final

from zgen.ids import ActorId, PeerId
from zgen.wire.actor import ClaimName
from zgen.wire.schema import message

#: Nobody has the name, as far as this keeper knows.
FREE: Final = 0
#: It is held here for this claim.
HELD: Final = 1
#: It is held for another claim, of which it is not settled whether that gets it.
PENDING: Final = 2
#: It is another actor's.
TAKEN: Final = 3
#: This keeper counts other nodes as keepers, or has not heard of all names yet: ask again.
LATER: Final = 4
#: This keeper is cut off from the majority of the cluster.
MINORITY: Final = 5
#: It holds as many names as it can.
FULL: Final = 6


@message(0xB0)
class HoldName:
    """Node -> keeper: hold this name for an actor of a process of mine, if nobody else has it.

    Attributes:
        query: Number to repeat in the answer.
        claim: The claim, as its creator made it.
        group: Who I think the keepers of this name are, the first one first.
        settled: Whether the actor has the name already; then it is only a copy more.
    """

    query: int
    claim: ClaimName
    group: tuple[PeerId, ...]
    settled: bool


@message(0xB1)
class SeekName:
    """Node -> keeper: tell me who has this name.

    Attributes:
        query: Number to repeat in the answer.
        namespace: Where it counts.
        name: The name.
        group: Who I think the keepers of this name are.
    """

    query: int
    namespace: str
    name: str
    group: tuple[PeerId, ...]


@message(0xB2)
class NameWord:
    """Keeper -> node: what I know of a name that you asked about.

    Attributes:
        query: Number of the question.
        verdict: ``FREE``, ``HELD``, ``PENDING``, ``TAKEN``, ``LATER``, ``MINORITY`` or ``FULL``.
        claims: The claim that holds, if that is another one or was asked for; else empty.
    """

    query: int
    verdict: int
    claims: tuple[ClaimName, ...] = ()


@message(0xB3)
class SettleName:
    """Node -> keeper: the actor for which you hold this name has it.

    Attributes:
        namespace: Where it counts.
        name: The name.
        actor: The actor.
    """

    namespace: str
    name: str
    actor: ActorId


@message(0xB4)
class DropName:
    """Node -> keeper: hold this name no more.

    Attributes:
        namespace: Where it counts.
        name: The name.
        actor: The actor for which you hold it.
        replaced: Whether all keepers gave the name to one that was created in its place; then I
            need not be its home, which is dead.
    """

    namespace: str
    name: str
    actor: ActorId
    replaced: bool = False


@message(0xB5)
class AskNames:
    """Keeper -> node: count me as one, which I am newly, and have me hold what I should.

    What falls to me of your names comes first, then ``NamesTold``.

    Attributes:
        is_cut_off: Whether this is another question: whether I am cut off from most nodes, as I
            count them, or only from those that you count no more.
    """

    is_cut_off: bool


@message(0xB6)
class NamesTold:
    """Node -> node: I count you as a keeper, and said what you are to hold for me.

    Attributes:
        homes: Nodes for which I hold names, so that you ask them too.
        voters: Where some are silent, or who asks is cut off: the nodes of which a majority may
            give names away, dead and alive; else empty.
        newcomers: Beside these, those that live and do not vote here yet.
    """

    homes: tuple[PeerId, ...]
    voters: tuple[PeerId, ...]
    newcomers: tuple[PeerId, ...] = ()
