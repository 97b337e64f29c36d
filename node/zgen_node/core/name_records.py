"""Names that this node keeps for the cluster: one of the three copies of each.

Rules of this file: a name is held for one claim at a time, until the node that asked for it says
otherwise or is gone. Who may ask, and whether this node is a keeper of the name, is decided above.

Theory of operation. The name of a detached actor whose home is gone is held on, as an orphan, for
whoever creates that actor again. A claim for the new one takes the old one's place, and gives it
back if it comes to nothing.
"""

from zgen.core.marks import reached
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
        group: The keepers, as its home counted them.
        orphaned: Whether its home is gone, and it waits to be created again.
        before: What was held for the actor that this one is to replace.
        tries: How often this node had it created again, in vain.
    """

    home: PeerId
    claim: ClaimName
    settled: bool
    group: tuple[PeerId, ...] = ()
    orphaned: bool = False
    before: "NameRecord | None" = None
    tries: int = 0

    @property
    def may_restart(self) -> bool:
        """Whether its actor may be created again when its home is gone."""
        return self.settled and any(charter.may_restart for charter in self.claim.charters)

    def replaced_by(self, home: PeerId, claim: ClaimName, settled: bool) -> bool:
        """Return whether a claim is for the same actor, created again, or for who came after it."""
        is_next = claim.instead_of == self.claim.actor
        if settled:  # by all keepers of that time
            return is_next or self.orphaned
        return is_next and (self.orphaned or self.home == home)


class NameRecords:
    """What one keeper holds.

    Attributes:
        newly_orphaned: Whether there are orphans that nobody has looked at.
    """

    def __init__(self) -> None:
        """Start without names."""
        self.newly_orphaned = False
        #: (namespace, name) -> record. Added by ``hold``; removed by ``drop`` and ``drop_home``.
        self._records: dict[Key, NameRecord] = {}

    def __len__(self) -> int:
        """Return how many names are held."""
        return len(self._records)

    def get(self, key: Key) -> NameRecord | None:
        """Return what is held under a name."""
        return self._records.get(key)

    def hold(
        self, home: PeerId, claim: ClaimName, settled: bool, group: tuple[PeerId, ...] = ()
    ) -> None:
        """Hold a name that nobody else has, or for an actor that replaces the one that has it."""
        key = (claim.namespace, claim.name)
        known = self._records.get(key)
        record = self._records[key] = NameRecord(home, claim, settled, group)
        if known is None:
            return
        if known.claim.actor == claim.actor:
            record.settled, record.before = settled or known.settled, known.before
        else:
            assert known.replaced_by(home, claim, settled), f"{key} is held for another"
            record.before = known if known.settled else known.before
        if record.settled:
            record.before = None

    def settle(self, home: PeerId, key: Key, actor: ActorId) -> bool:
        """Note that an actor has its name; return False if it is not held for it."""
        record = self._of(home, key, actor)
        if record is not None:
            record.settled, record.before = True, None
        return record is not None

    def drop(self, home: PeerId, key: Key, actor: ActorId) -> bool:
        """Hold a name no more; return False if it is not held for that actor."""
        record = self._of(home, key, actor)
        if record is None:
            return False
        self._forget(key, record)
        return True

    def drop_home(self, home: PeerId) -> None:
        """Hold nothing any more for a node that is gone, but what can be created again."""
        for key, record in list(self._records.items()):
            if record.home != home:
                continue
            if record.may_restart:
                record.orphaned = self.newly_orphaned = True
            else:
                self._forget(key, record)
                if record.before is not None and record.before.home == home:
                    record.before.orphaned = True

    def orphans(self) -> list[tuple[Key, NameRecord]]:
        """Return the names whose actors wait to be created again."""
        return [(key, record) for key, record in self._records.items() if record.orphaned]

    def give_up(self, key: Key) -> None:
        """An actor cannot be created again."""
        del self._records[key]

    def replaced(self, key: Key, actor: ActorId) -> bool:
        """Hold nothing for an actor in whose place another one has its name; False if not held."""
        record = self._records.get(key)
        if record is None or record.claim.actor != actor:
            return False
        del self._records[key]
        return True

    def homes(self) -> tuple[PeerId, ...]:
        """Return for which nodes names are held."""
        return tuple(dict.fromkeys(record.home for record in self._records.values()))

    def check(self) -> None:
        """Assert that each name stands under itself."""
        for key, record in self._records.items():
            claim = record.claim
            assert key == (claim.namespace, claim.name), f"{short(claim.actor)} under {key}"

    def _forget(self, key: Key, record: NameRecord) -> None:
        """Hold a name no more, or again for the actor that was not replaced."""
        del self._records[key]
        if record.before is not None:
            reached("detached actor not replaced after all")
            self._records[key] = record.before
            self.newly_orphaned = True

    def _of(self, home: PeerId, key: Key, actor: ActorId) -> NameRecord | None:
        record = self._records.get(key)
        if record is None or (record.home, record.claim.actor) != (home, actor):
            return None
        return record
