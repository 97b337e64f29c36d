"""Names of actors that processes of this node created, and who keeps each of them.

Rules of this file: a name is claimed for one actor at a time, by the process that creates it, until
that gives it up or is dead. Whether the cluster lets it have the name is not known here.

Theory of operation. The creator of an actor claims its name before the actor exists, and frees it
when the actor is dead for good; a creator's own death frees all that it claimed.
"""

from dataclasses import field

from zgen.ids import ActorId, PeerId, short
from zgen.slotted import slotted
from zgen.wire.actor import ClaimName

Key = tuple[str, str]


@slotted
class Named:
    """A name that is claimed from here.

    Attributes:
        owner: Who claimed it.
        claim: The claim.
        settled: Whether the actor has it.
        keepers: The nodes that hold it, or were asked to.
    """

    owner: PeerId
    claim: ClaimName
    settled: bool = False
    keepers: dict[PeerId, None] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.claim.namespace, self.claim.name


class Names:
    """All claims of the processes of a node."""

    def __init__(self) -> None:
        """Start without names."""
        #: Actor -> its name. Added by ``claim``; removed by ``free``, ``give_up`` and
        #: ``drop_owner``.
        self._names: dict[ActorId, Named] = {}

    def __len__(self) -> int:
        """Return how many names are claimed."""
        return len(self._names)

    def all(self) -> list[Named]:
        """Return every claim, the eldest first."""
        return list(self._names.values())

    def claim(self, owner: PeerId, claim: ClaimName) -> Named:
        """Note that a name is wanted; an actor has one."""
        return self._names.setdefault(claim.actor, Named(owner, claim))

    def get(self, actor: ActorId) -> Named | None:
        """Return the name that an actor has or wants."""
        return self._names.get(actor)

    def free(self, owner: PeerId, namespace: str, name: str, actor: ActorId) -> Named | None:
        """Give a name up; return None if it is another's."""
        named = self._names.get(actor)
        if named is None or (named.owner, *named.key) != (owner, namespace, name):
            return None
        return self._names.pop(actor)

    def give_up(self, actor: ActorId) -> Named:
        """An actor did not get its name."""
        return self._names.pop(actor)

    def drop_owner(self, owner: PeerId) -> list[Named]:
        """Free all that a dead process claimed; return it."""
        dead = [named for named in self._names.values() if named.owner == owner]
        for named in dead:
            del self._names[named.claim.actor]
        return dead

    def check(self) -> None:
        """Assert that each claim stands under its actor, and no name was given to two."""
        settled: dict[Key, ActorId] = {}
        for actor, named in self._names.items():
            assert actor == named.claim.actor, f"{short(named.claim.actor)} under {short(actor)}"
            assert named.claim.creator.peer == named.owner, "claimed for another process"
            if named.settled:
                other = settled.setdefault(named.key, actor)
                assert other == actor, f"{named.key} is of {short(other)} and {short(actor)}"
