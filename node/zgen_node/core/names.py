"""Names of actors on this node.

Rules of this file: a name belongs to whoever claimed it first, until the claim is given up. Who may
claim and who is alive is not known here.

Theory of operation. The creator of an actor claims its name before the actor exists, and frees it
when the actor is dead for good; a creator's own death frees all that it claimed.
"""

from zgen.ids import ActorId, PeerId, short
from zgen.slotted import slotted
from zgen.wire.actor import ClaimName


@slotted
class Named:
    """A name that is taken.

    Attributes:
        owner: Who claimed it.
        claim: The claim.
    """

    owner: PeerId
    claim: ClaimName


class Names:
    """All names of a node."""

    def __init__(self) -> None:
        """Start without names."""
        #: (namespace, name) -> who has it. Added by ``claim``; removed by ``free`` and
        #: ``drop_owner``.
        self._names: dict[tuple[str, str], Named] = {}

    def __len__(self) -> int:
        """Return how many names are taken."""
        return len(self._names)

    def claim(self, owner: PeerId, claim: ClaimName) -> ClaimName:
        """Give a name away, if it is free; return the claim that holds now."""
        key = (claim.namespace, claim.name)
        return self._names.setdefault(key, Named(owner, claim)).claim

    def find(self, namespace: str, name: str) -> ClaimName | None:
        """Return the claim that holds, or None."""
        named = self._names.get((namespace, name))
        return named.claim if named is not None else None

    def free(self, owner: PeerId, namespace: str, name: str, actor: ActorId) -> bool:
        """Give a name up; return False if it is another's."""
        named = self._names.get((namespace, name))
        if named is None or (named.owner, named.claim.actor) != (owner, actor):
            return False
        del self._names[namespace, name]
        return True

    def drop_owner(self, owner: PeerId) -> None:
        """Free all that a dead process claimed."""
        dead = [key for key, named in self._names.items() if named.owner == owner]
        for key in dead:
            del self._names[key]

    def check(self) -> None:
        """Assert that each name stands under itself."""
        for key, named in self._names.items():
            claim = named.claim
            assert key == (claim.namespace, claim.name), f"{short(claim.actor)} under {key}"
            assert claim.creator.peer == named.owner, f"{key} was claimed for another process"
