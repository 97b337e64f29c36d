"""Owned references: a record lives exactly as long as somebody may ask for its value."""

from __future__ import annotations

import pytest

from tests.unit.core.names import result
from zgen.core.ref_table import RefTable
from zgen.wire.value import Parcel

A, B = result("task a"), result("task b")


def test_a_pending_object_gets_its_value_once() -> None:
    refs = RefTable()
    refs.create(A)
    assert refs.pending() == [A]
    assert refs.settle(A, b"value")
    assert refs.value_of(A) == b"value"
    assert refs.pending() == []
    with pytest.raises(AssertionError, match="has a value already"):
        refs.settle(A, b"other")


def test_the_last_reference_frees_the_value_and_a_late_one_is_dropped() -> None:
    refs = RefTable()
    refs.create(A)
    refs.add_local(A)
    refs.drop_all([A])
    assert A in refs.records
    refs.drop_all([A])
    assert refs.records == {}
    assert not refs.settle(A, b"late")
    assert refs.records == {}


def test_a_pinned_object_outlives_its_references() -> None:
    refs = RefTable()
    refs.create(A, b"value")
    refs.pin(A)
    refs.pin(A)
    refs.drop_all([A])
    refs.check()
    assert refs.value_of(A) == b"value"
    refs.unpin(A)
    assert A in refs.records
    refs.unpin(A)
    assert refs.records == {}


def test_a_reference_outlives_the_pins() -> None:
    refs = RefTable()
    refs.create(A, b"value")
    refs.pin(A)
    refs.unpin(A)
    assert refs.value_of(A) == b"value"


def test_objects_are_born_together_with_their_values() -> None:
    refs = RefTable()
    refs.create_all([A, B], [b"a", Parcel(b"b", (b"1234",))])
    refs.create(result("task c"))
    refs.check()
    assert (refs.value_of(A), refs.value_of(B)) == (b"a", Parcel(b"b", (b"1234",)))
    assert refs.bytes_held() == 6


def test_names_are_born_once() -> None:
    refs = RefTable()
    refs.create(A)
    with pytest.raises(AssertionError, match="exists"):
        refs.create(A)
    with pytest.raises(AssertionError, match="exists"):
        refs.create_all([B, A], [b"b", b"a"])


def test_what_is_dropped_and_unknown_is_of_an_earlier_life() -> None:
    refs = RefTable()
    refs.create(A, b"value")
    refs.drop_all([B, A, B])
    assert refs.records == {}


def test_dropping_or_unpinning_too_often_is_our_bug() -> None:
    refs = RefTable()
    refs.create(A)
    refs.pin(A)
    refs.drop_all([A])
    with pytest.raises(AssertionError, match="dropped too often"):
        refs.drop_all([A])
    refs = RefTable()
    refs.create(A)
    with pytest.raises(AssertionError, match="unpinned too often"):
        refs.unpin(A)


def test_check_finds_what_nobody_holds() -> None:
    refs = RefTable()
    refs.create(A).local = 0
    with pytest.raises(AssertionError, match="held by nobody"):
        refs.check()
