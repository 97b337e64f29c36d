"""One generator stream as its owner sees it: what its table `stream_in` keeps of each.

Rules of this file: what of a stream with a window was taken. Who is told of it is not known here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import field

from zgen.ids import ObjectId, PeerId
from zgen.limits import (
    ITEMS_COUNT_MAX,
    WINDOW_BYTES_STEPS_COUNT,
    WINDOW_STEPS_COUNT,
    WINDOW_WIDE_COUNT_MIN,
)
from zgen.slotted import slotted
from zgen.wire.value import NONE, Fault, Stored, Value, is_error, sizes_of, stored_count


@slotted
class InStream:
    """One stream as its owner sees it.

    Attributes:
        name: Name of the generator function, for errors.
        attempt: The only attempt whose reports count.
        position: Items that the current attempt has reported.
        known: Items reported by any attempt; never falls.
        resume: How many of them the current attempt need not yield again if it asks.
        unread: Values not taken, the oldest first. Added by reports; removed by ``take`` and
            ``close``.
        taken: Items handed out.
        ended: Whether nothing will be added any more.
        handle: Whether the user still reads the generator.
        stays: Whether he has closed it and still holds it.
        completion: What the completion object holds, once ended.
        returned: Whether it holds more than bytes, and lives as long as ``handle``.
        moved_ns: When its consumer last took something, or its first item in shared memory came.
        stored: Items in ``unread`` that lie in shared memory.
        window: Items that may be there without being taken; 0 for any number.
        step: How many items the producer is told of at a time, and how many are taken over at once;
            0 if there is no window of either kind and each yield makes one.
        consumed: Items that the user has certainly taken; counted where there is a window.
        granted: How many of them the producer of the current attempt was told of.
        fills: Whether its attempt is to report what was lost, though nobody reads the stream.
        producer: The worker whose reports of the current attempt count, once it has sent some.
        window_bytes: Bytes that may be there without being taken; 0 for any number.
        step_bytes: As ``step``, in bytes.
        sizes: Bytes of each yield from ``consumed`` on, where there is a window in bytes.
        ahead_bytes: Their sum.
        untold_bytes: Bytes of the items that were taken since the producer was told last.
        parked_by: Why the producer says that it waits, one of the ``PARKED_BY_`` numbers, or 0.
        epoch: How often it was lent to other processes.
        is_lent: Whether another process may take its items now, and this one may not.
        is_far: Whether this process does not own it, and has it by a loan.
        back: Items that come before ``unread`` and have a local reference each: those that came
            back with a loan, or by one. None if there are none.
        refusal: Why nothing is taken any more of one that is far.
        per_yield: Items that each yield makes; every number and index of items here is a multiple
            of it, and an error stands in place of each of them.
    """

    name: str
    attempt: int = 0
    position: int = 0
    known: int = 0
    resume: int = 0
    unread: deque[Value] = field(default_factory=deque)
    taken: int = 0
    ended: bool = False
    handle: bool = True
    stays: bool = False
    completion: Value | None = None
    returned: bool = False
    moved_ns: int = 0
    stored: int = 0
    window: int = 0
    step: int = 0
    consumed: int = 0
    granted: int = 0
    producer: PeerId | None = None
    fills: bool = False
    window_bytes: int = 0
    step_bytes: int = 0
    sizes: deque[int] = field(default_factory=deque)
    ahead_bytes: int = 0
    untold_bytes: int = 0
    parked_by: int = 0
    epoch: int = 0
    is_lent: bool = False
    is_far: bool = False
    back: deque[ObjectId] | None = None
    refusal: Fault | None = None
    per_yield: int = 1


def open_window(record: InStream, window: int, window_bytes: int, per_yield: int = 1) -> None:
    """Give a stream a window, in yields, in bytes or in both; 0 is none."""
    record.per_yield = per_yield
    record.window, record.window_bytes = window * per_yield, window_bytes
    wide = window // WINDOW_STEPS_COUNT if window else ITEMS_COUNT_MAX // per_yield
    record.step = per_yield * (1 if 0 < window < WINDOW_WIDE_COUNT_MIN else wide)
    record.step_bytes = max(1, window_bytes // WINDOW_BYTES_STEPS_COUNT)


def count_in(record: InStream, values: Sequence[Value]) -> None:
    """These items of a stream with a window were reported: so its producer does not wait."""
    record.parked_by = 0
    if not record.window_bytes:
        return
    sizes = sizes_of(values)
    per_yield = record.per_yield
    if per_yield > 1:
        sizes = [sum(sizes[at : at + per_yield]) for at in range(0, len(sizes), per_yield)]
    record.sizes.extend(sizes)
    record.ahead_bytes += sum(sizes)


def count_out(record: InStream, consumed: int, count_max: int) -> int:
    """So many items of it were taken; return how many to hand over: a step, or a larger yield.

    Args:
        record: The stream.
        consumed: How many, with the first one of those that are handed over now.
        count_max: How many to hand over at most.
    """
    sizes, size, each = record.sizes, 0, record.per_yield
    count = min((consumed - record.consumed) // each, len(sizes))
    if count > 0:
        taken = [sizes.popleft() for _ in range(count)]
        size, taken_bytes = taken[-1], sum(taken)
        record.ahead_bytes -= taken_bytes
        record.untold_bytes += taken_bytes
    if size + record.ahead_bytes <= record.step_bytes:
        return min(each * (len(sizes) + 1), count_max)
    count = each
    for more in sizes:
        size += more
        if count >= count_max or size > record.step_bytes:
            break
        count += each
    return min(count, count_max)


def is_due(record: InStream) -> bool:
    """Return whether to tell the producer what was taken.

    By parts, or when it waits and all is taken: an item that is larger than what is left of the
    window beside a part comes only when nothing else waits. Where all that came is handed over, the
    next yield may be missing from a part: it is waited for, and its producer may wait, too.
    """
    untold_count = record.consumed - record.granted
    if not untold_count:
        return False
    if untold_count + (0 if record.unread else record.per_yield) >= record.step:
        return True
    if record.window_bytes and record.untold_bytes >= record.step_bytes:
        return True
    return bool(record.parked_by and record.consumed >= record.known)


def resumes_at(record: InStream, position: int) -> bool:
    """Return whether an attempt that has reported nothing yet may do so from ``position`` on."""
    follows = not record.position and 0 < position <= record.resume
    return follows and position % record.per_yield == 0


def whole_yields(record: InStream, count_max: int) -> int:
    """Return how many items to hand over at most, where so many are asked for: of whole yields."""
    each = record.per_yield
    return max(count_max - count_max % each, each) if count_max else 0


def until_stored(unread: deque[Value], count_max: int, per_yield: int) -> list[Value]:
    """Take out the first values, none behind the first yield with one in shared memory."""
    values: list[Value] = []
    is_found = False
    while unread and len(values) < count_max:
        values.append(unread.popleft())
        is_found = is_found or type(values[-1]) is Stored
        if is_found and len(values) % per_yield == 0:
            break
    return values


def count_taken(record: InStream, consumed: int) -> None:
    """So many items of a stream with a window were taken, whoever did."""
    if consumed > record.consumed:
        if record.window_bytes:
            count_out(record, consumed, record.per_yield)
        record.consumed = consumed


def has_returned(record: InStream) -> bool:
    """Return whether a stream has ended with a value, that ``StopIteration`` carries."""
    value = record.completion
    return record.returned or not (value is None or value == NONE or is_error(value))


def check_stream(record: InStream, name: str) -> None:
    """Assert the invariants of a stream."""
    story = f"stream {name}: {record}"
    assert record.position <= record.known, story
    assert stored_count(record.unread) == record.stored, story
    assert record.granted <= record.consumed <= record.taken, story
    assert record.ahead_bytes == sum(record.sizes), story
    if record.handle:
        there = record.taken + len(record.unread)
        assert there <= record.known + record.per_yield, story
        assert there >= record.known or (record.unread and is_error(record.unread[-1])), story
    else:
        assert not record.unread, story
        assert record.stays or not record.ended, story
    assert record.ended or not record.returned, story
    if record.per_yield > 1 and not record.is_far:
        counts = (record.position, record.known, record.resume, record.taken, record.consumed)
        for count in (*counts, len(record.unread)):
            assert count % record.per_yield == 0, story
