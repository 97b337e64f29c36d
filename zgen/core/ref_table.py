"""References of one process: local counts, pins, and the inline values they keep.

Rules of this file: an object's record lives exactly as long as somebody may ask for its value.
Which
task makes the value is not known here.

Theory of operation. A record is born pending or with its value. ``local`` counts user references in
this
process, ``pins`` counts what else needs the object: tasks that have not ended and take it as an
argument, values that contain a reference to it, processes that borrow it. When both are zero the
record goes, and with it the value; a value that arrives later finds no record and is dropped.
The record of an object that another process owns differs by its ``borrow`` alone.
"""

from collections.abc import Iterable, Sequence

from zgen.core.marks import reached
from zgen.ids import ObjectId, short
from zgen.slotted import slotted
from zgen.wire.session import Address
from zgen.wire.value import Parcel, Stored, Value, keeping, refs_of, size_bytes


@slotted
class Borrow:
    """What a borrower knows of an object besides its value.

    Attributes:
        owner: Who owns it.
        credits: How often the owner counts this process.
        asked: Whether the owner was asked for the value.
    """

    owner: Address
    credits: int = 0
    asked: bool = False


@slotted
class OwnedRef:
    """One object that this process owns or borrows.

    Attributes:
        value: Its value or error; None while pending.
        local: User references in this process.
        pins: Pending tasks, values and processes that need it.
        borrow: None for an object of this process; else what is known of its owner.
    """

    value: Value | None
    local: int
    pins: int = 0
    borrow: Borrow | None = None


class RefTable:
    """The objects that one process owns or borrows.

    Attributes:
        records: The objects.
        dropped: Values that went with their records and may keep something, until that is let go.
        returned: Objects that were borrowed and are not needed any more, until their owners know.
    """

    def __init__(self, dropped: list[Parcel | Stored] | None = None) -> None:
        """Start empty."""
        self.dropped: list[Parcel | Stored] = dropped if dropped is not None else []
        self.returned: list[tuple[ObjectId, Borrow]] = []
        #: Object -> record. Added by ``create``; removed when both counts reach zero.
        self.records: dict[ObjectId, OwnedRef] = {}
        #: Objects whose end somebody wants to know of. Added by who wants to; removed with them.
        self.watched: dict[ObjectId, None] = {}
        #: Watched ones that are gone, until that is taken care of.
        self.gone: list[ObjectId] = []

    def create(self, name: ObjectId, value: Value | None = None) -> OwnedRef:
        """Add an object with one local reference."""
        assert name not in self.records, f"object {short(name)} exists"
        record = self.records[name] = OwnedRef(value, 1)
        return record

    def create_all(self, names: Sequence[ObjectId], values: Sequence[Value]) -> None:
        """Add objects that have their values, with one local reference each."""
        records = self.records
        for name, value in zip(names, values, strict=True):
            assert name not in records, f"object {short(name)} exists"
            records[name] = OwnedRef(value, 1)

    def add_local(self, name: ObjectId) -> None:
        """Count one more user reference to a living object."""
        self.records[name].local += 1

    def settle(self, name: ObjectId, value: Value) -> bool:
        """Give a pending object its value; return False if nobody wants it any more."""
        record = self.records.get(name)
        if record is None:
            reached("late result of a freed reference dropped")
            self.dropped.extend(keeping((value,)))
            return False
        assert record.value is None, f"object {short(name)} has a value already"
        record.value = value
        return True

    def pin(self, name: ObjectId) -> None:
        """Keep an object for one pending task, value or process."""
        self.records[name].pins += 1

    def unpin(self, name: ObjectId) -> None:
        """Let go of an object for one task that ended, value that went or process that is done."""
        record = self.records[name]
        record.pins -= 1
        assert record.pins >= 0, f"object {short(name)} was unpinned too often"
        if not record.pins and not record.local:
            del self.records[name]
            if type(record.value) is not bytes or record.borrow is not None:
                self._bury(name, record)
            if self.watched and name in self.watched:
                del self.watched[name]
                self.gone.append(name)

    def drop_all(self, names: Iterable[ObjectId]) -> None:
        """Count one user reference less for each name; unknown ones are of an earlier life."""
        records = self.records
        for name in names:
            record = records.get(name)
            if record is None:
                continue
            record.local -= 1
            if record.local == 0:
                if not record.pins:
                    del records[name]
                    if type(record.value) is not bytes or record.borrow is not None:
                        self._bury(name, record)
                    if self.watched and name in self.watched:
                        del self.watched[name]
                        self.gone.append(name)
            else:
                assert record.local > 0, f"object {short(name)} was dropped too often"

    def value_of(self, name: ObjectId) -> Value | None:
        """Return the value of a living object, or None while it is pending."""
        return self.records[name].value

    def pending(self) -> list[ObjectId]:
        """Return the objects without a value, in order of birth."""
        return [name for name, record in self.records.items() if record.value is None]

    def bytes_held(self) -> int:
        """Return the bytes of all values held."""
        return sum(
            size_bytes(record.value) for record in self.records.values() if record.value is not None
        )

    def check(self) -> None:
        """Assert that every record has a holder."""
        for name, record in self.records.items():
            assert min(record.local, record.pins) >= 0, short(name)
            assert record.local or record.pins, f"object {short(name)} is held by nobody"

    def _bury(self, name: ObjectId, record: OwnedRef) -> None:
        """Note what a record that went has kept."""
        value = record.value
        if record.borrow is None:
            if isinstance(value, (Parcel, Stored)):
                self.dropped.append(value)
            return
        self.returned.append((name, record.borrow))
        refs = refs_of(value) if value is not None else ()
        if refs:  # the region, if it lies in one, is its owner's
            self.dropped.append(Parcel(b"", (), False, refs))
