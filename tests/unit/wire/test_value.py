"""Values as entries: small ones in the body, large ones and buffers in frames of their own."""

from __future__ import annotations

import pickle
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from zgen.exceptions import RemoteProtocolError
from zgen.ids import PeerId, TaskId, object_id
from zgen.limits import INBODY_BYTES_MAX
from zgen.wire.schema import Buffers, Entry
from zgen.wire.session import Address
from zgen.wire.store import Place
from zgen.wire.value import (
    FLAG_ERROR,
    FLAG_FRAMED,
    NONE,
    Fault,
    FaultKind,
    NestedRef,
    Parcel,
    Stored,
    Value,
    is_error,
    keeping,
    pack,
    pack_items,
    refs_in,
    refs_of,
    room_bytes,
    size_bytes,
    sizes_of,
    unpack,
    unpack_items,
    whole_bytes,
)

LARGE = bytes(INBODY_BYTES_MAX + 1)
FAULT = Fault(FaultKind.NODE_DIED, "work", "why")

parcels = st.builds(
    Parcel,
    st.sampled_from([b"", b"data", LARGE]),
    st.lists(st.sampled_from([b"", b"buffer", LARGE]), max_size=2).map(tuple),
    st.booleans(),
)
values = st.one_of(st.binary(max_size=9), st.just(LARGE), parcels)


def plain(value: Value) -> Value:
    """Return what a value is after a trip: what is no more than bytes becomes bytes."""
    if isinstance(value, bytes) and len(value) > INBODY_BYTES_MAX:
        return value
    if isinstance(value, Parcel) and not value.buffers and not value.is_error:
        return value.data
    return value


@given(given_values=st.lists(values, max_size=5))
def test_values_come_back_in_order(given_values: list[Value]) -> None:
    buffers: list[bytes] = [b"of another"]
    entries = pack(given_values, buffers)
    back, at = unpack(entries, Buffers(tuple(buffers)), 1)
    assert back == [plain(value) for value in given_values]
    assert at == len(buffers)


def test_small_bytes_stay_in_the_body_and_large_ones_get_a_frame() -> None:
    buffers: list[bytes] = []
    small = bytes(INBODY_BYTES_MAX)
    assert pack([small, LARGE], buffers) == (small, (FLAG_FRAMED, b"", 1))
    assert buffers == [LARGE]


def test_a_parcel_counts_its_frames_and_says_whether_it_is_an_error() -> None:
    buffers: list[bytes] = []
    assert pack(
        [
            Parcel(b"d", (b"1", b"2")),
            Parcel(b"e", (), True),
            Parcel(LARGE, (b"3",), True),
        ],
        buffers,
    ) == (
        (0, b"d", 2),
        (FLAG_ERROR, b"e", 0),
        (FLAG_ERROR | FLAG_FRAMED, b"", 2),
    )
    assert buffers == [b"1", b"2", LARGE, b"3"]


def test_faults_do_not_travel() -> None:
    with pytest.raises(AssertionError):
        pack([FAULT], [])


@pytest.mark.parametrize(
    ("entries", "buffers", "says"),
    [
        (((0, b"d", 1),), (), "name 1 buffers, 0 came"),
        (((0, b"d", 1), (0, b"d", 2)), (b"1", b"2"), "name 3 buffers, 2 came"),
        (((0, b"d", 2**63),), (b"1",), "buffers, 1 came"),
        (((FLAG_FRAMED, b"", 0),), (b"1",), "without a frame"),
    ],
)
def test_entries_that_name_what_did_not_come_are_refused(
    entries: tuple[Entry, ...], buffers: tuple[bytes, ...], says: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        unpack(entries, Buffers(buffers))


def test_the_size_of_a_value_is_what_it_holds() -> None:
    assert size_bytes(b"four") == 4
    assert size_bytes(Parcel(b"four", (b"12", bytes(100)))) == 106
    assert size_bytes(FAULT) == 3


def test_errors_are_told_from_values() -> None:
    assert [is_error(value) for value in (b"", NONE, Parcel(b"d"), Parcel(b"d", (b"1",)))] == [
        False
    ] * 4
    assert is_error(Parcel(b"d", (), True))
    assert is_error(FAULT)


def test_none_is_what_pickle_makes_of_it() -> None:
    assert pickle.dumps(None, 5) == NONE


STORED = Stored(PeerId(b"n" * 16), 7, Place(3, 4096, 8192, 1 << 20, True), b"pickle", (4000, 70))


def test_a_stored_value_travels_as_the_name_of_its_region() -> None:
    buffers: list[bytes] = []
    entries = pack([b"small", STORED, b"other"], buffers)
    assert buffers == []
    assert unpack(entries, Buffers(()))[0] == [b"small", STORED, b"other"]
    assert size_bytes(STORED) == len(b"pickle")
    assert not is_error(STORED)


@given(st.lists(st.one_of(values, st.just(STORED))))
def test_sizes_of_values_are_those_of_each(given_values: list[Value]) -> None:
    assert sizes_of(given_values) == [whole_bytes(value) for value in given_values]


def test_parts_begin_at_multiples_of_the_alignment() -> None:
    assert room_bytes(()) == 0
    assert room_bytes((1, 64, 65)) == 64 + 64 + 128


@pytest.mark.parametrize("cut", [0, 20, 70])
def test_a_stored_value_that_is_cut_off_is_refused(cut: int) -> None:
    (entry,) = pack([STORED], [])
    assert not isinstance(entry, bytes)
    with pytest.raises(RemoteProtocolError, match="cut off"):
        unpack([(entry[0], entry[1][:cut], entry[2])], Buffers(()))


@pytest.mark.parametrize(
    "other",
    [
        Stored(STORED.node, 7, STORED.place, b"", (8193,)),
        Stored(STORED.node, 7, Place(3, 1 << 20, 8192, 1 << 20, True), b"", (1,)),
    ],
)
def test_a_stored_value_outside_its_region_is_refused(other: Stored) -> None:
    with pytest.raises(RemoteProtocolError, match="does not fit"):
        unpack(pack([other], []), Buffers(()))


@given(given_values=st.lists(st.one_of(values, st.just(STORED)), max_size=5))
def test_items_are_packed_as_any_values_are(given_values: list[Value]) -> None:
    buffers: list[bytes] = []
    others: list[bytes] = []
    entries, size, refs = pack_items(given_values, buffers)
    assert (entries, buffers) == (pack(given_values, others), others)
    assert size == sum(map(size_bytes, given_values))
    back, stored, nested = unpack_items(entries, Buffers(tuple(buffers)))
    assert not refs
    assert not nested
    assert back == unpack(entries, Buffers(tuple(buffers)))[0]
    assert stored == given_values.count(STORED)


REFS = (
    NestedRef(
        object_id(TaskId(b"t" * 16), 1),
        Address(PeerId(b"p" * 16), 2, "ipc://a", tcp="tcp://a:1", machine=b"m"),
    ),
    NestedRef(object_id(TaskId(b"t" * 16), 2), Address(PeerId(b"q" * 16), 1, "")),
)


@pytest.mark.parametrize(
    "value",
    [
        Parcel(b"data", (), False, REFS),
        Parcel(LARGE, (b"buffer",), False, REFS[:1]),
        Stored(STORED.node, 7, STORED.place, b"data", (1,), REFS),
    ],
    ids=["inline", "framed", "stored"],
)
def test_references_travel_with_the_value_that_they_lie_in(value: Value) -> None:
    buffers: list[bytes] = []
    entries, _, refs = pack_items([b"plain", value], buffers)
    assert refs == refs_of(value)
    assert unpack_items(entries, Buffers(tuple(buffers))) == (
        [b"plain", value],
        int(type(value) is Stored),
        True,
    )
    assert refs_in([b"plain", value, value]) == refs * 2
    assert keeping([b"plain", value, Fault(FaultKind.REFUSED, "f")]) == [value]
    assert refs_of(b"plain") == ()


def test_references_that_are_cut_off_are_refused() -> None:
    entry: Any = pack([Parcel(b"", (), False, REFS)], [])[0]
    flag, packed, count = entry
    for end in range(len(packed)):
        with pytest.raises(RemoteProtocolError, match="cut off"):
            unpack([(flag, packed[:end], count)], Buffers(()))
    bad = packed[:-1].replace(b"ipc://a", b"ipc://\xff") + packed[-1:]
    with pytest.raises(RemoteProtocolError, match="cut off"):
        unpack([(flag, bad, count)], Buffers(()))


def test_an_error_with_references_is_refused() -> None:
    entries = pack([Parcel(b"", (), True, REFS)], [])
    with pytest.raises(RemoteProtocolError, match="an error with references"):
        unpack(entries, Buffers(()))
