"""Owned references: local counts, pins of pending tasks, and the inline values they keep.

Rules of this file: an object's record lives exactly as long as somebody may ask for its value.
Which
task makes the value is not known here.

Theory of operation. A record is born pending or with its value. ``local`` counts user references in
this
process, ``pins`` counts tasks that have not ended and need the value as an argument. When both are
zero
the record goes, and with it the value; a value that arrives later finds no record and is dropped.
"""

from collections.abc import Iterable, Sequence

from zgen.core.marks import reached
from zgen.ids import ObjectId, short
from zgen.slotted import slotted
from zgen.wire.value import Stored, Value, size_bytes


@slotted
class OwnedRef:
    """One object that this process owns.

    Attributes:
        value: Its value or error; None while pending.
        local: User references in this process.
        pins: Pending tasks that need it.
    """

    value: Value | None
    local: int
    pins: int = 0


class RefTable:
    """The owned objects of one process.

    Attributes:
        records: The objects.
        dropped: Values in shared memory that went with their records, until they are taken care of.
    """

    def __init__(self, dropped: list[Stored] | None = None) -> None:
        """Start empty."""
        self.dropped: list[Stored] = dropped if dropped is not None else []
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
            if type(value) is Stored:
                self.dropped.append(value)
            return False
        assert record.value is None, f"object {short(name)} has a value already"
        record.value = value
        return True

    def pin(self, name: ObjectId) -> None:
        """Keep an object for one pending task."""
        self.records[name].pins += 1

    def unpin(self, name: ObjectId) -> None:
        """Let go of an object for one task that ended."""
        record = self.records[name]
        record.pins -= 1
        assert record.pins >= 0, f"object {short(name)} was unpinned too often"
        if not record.pins and not record.local:
            del self.records[name]
            if type(record.value) is Stored:
                self.dropped.append(record.value)
            elif name in self.watched:
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
                    if type(record.value) is Stored:
                        self.dropped.append(record.value)
                    elif self.watched and name in self.watched:
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
