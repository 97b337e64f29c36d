"""Names that this node keeps for the cluster: one of the three copies of each.

Rules of this file: a name is held for one claim at a time, until the node that asked for it says
otherwise or is gone. Who may ask, and whether this node is a keeper of the name, is decided above.
"""

from zgen.ids import ActorId, PeerId, short
from zgen.slotted import slotted
from zgen.wire.actor import ClaimName

Key = tuple[str, str]


@slotted
class NameRecord:
    """A name that is held here.

    Attributes:
        home: The node of the process that claimed it, which alone may free it.
        claim: The claim.
        settled: Whether the actor has the name; until then it may be taken back.
    """

    home: PeerId
    claim: ClaimName
    settled: bool


class NameRecords:
    """What one keeper holds."""

    def __init__(self) -> None:
        """Start without names."""
        #: (namespace, name) -> record. Added by ``hold``; removed by ``drop`` and ``drop_home``.
        self._records: dict[Key, NameRecord] = {}

    def __len__(self) -> int:
        """Return how many names are held."""
        return len(self._records)

    def get(self, key: Key) -> NameRecord | None:
        """Return what is held under a name."""
        return self._records.get(key)

    def hold(self, home: PeerId, claim: ClaimName, settled: bool) -> None:
        """Hold a name that nobody else has."""
        key = (claim.namespace, claim.name)
        known = self._records.get(key)
        assert known is None or known.claim.actor == claim.actor, f"{key} is held for another"
        was_settled = known is not None and known.settled
        self._records[key] = NameRecord(home, claim, settled or was_settled)

    def settle(self, home: PeerId, key: Key, actor: ActorId) -> bool:
        """Note that an actor has its name; return False if it is not held for it."""
        record = self._of(home, key, actor)
        if record is not None:
            record.settled = True
        return record is not None

    def drop(self, home: PeerId, key: Key, actor: ActorId) -> bool:
        """Hold a name no more; return False if it is not held for that actor."""
        if self._of(home, key, actor) is None:
            return False
        del self._records[key]
        return True

    def drop_home(self, home: PeerId) -> None:
        """Hold nothing any more for a node that is gone."""
        for key in [key for key, record in self._records.items() if record.home == home]:
            del self._records[key]

    def homes(self) -> tuple[PeerId, ...]:
        """Return for which nodes names are held."""
        return tuple(dict.fromkeys(record.home for record in self._records.values()))

    def check(self) -> None:
        """Assert that each name stands under itself."""
        for key, record in self._records.items():
            claim = record.claim
            assert key == (claim.namespace, claim.name), f"{short(claim.actor)} under {key}"

    def _of(self, home: PeerId, key: Key, actor: ActorId) -> NameRecord | None:
        record = self._records.get(key)
        if record is None or (record.home, record.claim.actor) != (home, actor):
            return None
        return record
