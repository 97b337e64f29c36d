"""Between an owner's tables: what keeps each object, and which value lies in each region.

Rules of this file: it looks and changes nothing. For invariants, and for people who ask.
"""

from zgen.core.lease_client import LeaseClient
from zgen.core.lent_stream import LentStream
from zgen.core.placement import Placement
from zgen.core.ref_table import RefTable
from zgen.core.region_table import RegionTable
from zgen.core.stream_in import StreamsIn
from zgen.core.task_table import Doing, TaskTable
from zgen.ids import COMPLETION_INDEX, ObjectId, StreamId, object_id, short
from zgen.wire.value import Stored, Value, refs_in


def needs(
    refs: RefTable, tasks: TaskTable, streams: StreamsIn, placement: Placement
) -> list[ObjectId]:
    """Return what tasks, values and functions refer to, an object for each that does."""
    values = _values_of(refs, streams, borrowed=True)
    names: list[ObjectId] = []
    for entry in tasks.entries.values():
        values.append(entry.spec.arguments)
        if entry.log is not None:
            values.extend(entry.log.values())
        names.extend(entry.spec.slots)
    for stream, record in streams.streams.items():
        if record.returned and not record.is_far:
            names.append(object_id(stream, COMPLETION_INDEX))
    return names + [ref.object for ref in (*refs_in(values), *placement.pushing.closed_over())]


def check_regions(refs: RefTable, streams: StreamsIn, regions: RegionTable) -> None:
    """Assert that each region that is named is named by one value of this process."""
    values = _values_of(refs, streams, borrowed=False)
    named = [value.region for value in values if type(value) is Stored]
    known = [number for number, region in regions.regions.items() if region.named]
    assert sorted(named) == sorted(known), f"values name {named}, known are {known}"


def check_tasks(tasks: TaskTable, leases: LeaseClient, streams: StreamsIn, refs: RefTable) -> None:
    """Assert that tasks, leases and streams know of each other."""
    for task, entry in tasks.entries.items():
        if entry.lease is not None and not entry.spec.method:
            assert task in leases.held[entry.lease].in_flight, entry.doing.story()
        for name in entry.spec.slots:
            assert refs.records[name].pins > 0, entry.doing.story()
    for lease, held in leases.held.items():
        for task in held.in_flight:
            assert tasks.entries[task].lease == lease, f"task {short(task)} is elsewhere"
    for stream, record in streams.streams.items():
        known = record.ended or record.is_far or stream in tasks.entries
        assert known, f"stream {record} has no task"
    waiting = [task for pool in leases.pools.values() for task in pool.queue]
    states = [tasks.entries[task].doing.state for task in waiting]
    assert all(state is Doing.WAITING_LEASE for state in states), states


def check_loans(
    refs: RefTable,
    streams: StreamsIn,
    lent: dict[StreamId, LentStream],
    tickets: dict[ObjectId, StreamId],
    handles: dict[StreamId, int],
) -> None:
    """Assert the invariants of every loan of a stream."""
    for stream, loan in lent.items():
        record, told = streams.streams[stream], f"{short(stream)}: {loan}"
        assert record.is_lent, told
        assert record.back is None, told
        assert loan.position + len(loan.items) == record.taken, told
        assert loan.begun <= loan.position, told
        assert loan.holder is None or loan.position <= loan.sent <= record.taken, told
        assert loan.ticket in refs.records, told
        assert tickets[loan.ticket] == stream, told
        assert stream in handles, told
    assert len(tickets) == len(lent), "a ticket without a loan"
    for stream, record in streams.streams.items():
        assert record.is_lent is (stream in lent), short(stream)
        kept = lent[stream].items if record.is_lent else record.back or ()
        for name in kept:
            assert refs.records[name].local > 0, f"{short(name)} is kept by nobody"


def _values_of(refs: RefTable, streams: StreamsIn, *, borrowed: bool) -> list[Value]:
    """Return the values of objects and of items that nobody has taken."""
    values = [
        record.value
        for record in refs.records.values()
        if record.value is not None and (borrowed or record.borrow is None)
    ]
    for stream in streams.streams.values():
        values.extend(stream.unread)
    return values
