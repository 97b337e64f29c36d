import pytest

from tests.unit.node.fakes import peer
from zgen.ids import PeerId
from zgen_node.core.hold_table import Hold, HoldTable

A, B = peer("a"), peer("b")


def add(table: HoldTable, reader: PeerId, *missing: int) -> Hold:
    hold = table.add(reader, 1, (*missing, 9), dict.fromkeys(missing), "")
    table.check()
    return hold


def settle(table: HoldTable, region: int, reason: str = "") -> list[Hold]:
    holds = table.settle(region, reason)
    table.check()
    return holds


def test_a_request_that_misses_nothing_does_not_wait() -> None:
    table = HoldTable()
    assert add(table, A).regions == (9,)
    assert not table.waits_for(9)
    assert table.died(A) == []


def test_a_request_waits_for_all_that_it_misses() -> None:
    table = HoldTable()
    hold = add(table, A, 1, 2)
    assert settle(table, 1) == [hold]
    assert list(hold.missing) == [2]
    assert settle(table, 1) == []
    assert settle(table, 2, "gone") == [hold]
    assert (hold.missing, hold.reason) == ({}, "gone")
    assert not table.waits_for(2)


def test_a_reason_stays_when_the_rest_comes_back() -> None:
    table = HoldTable()
    hold = add(table, A, 1, 2)
    settle(table, 1, "gone")
    settle(table, 2)
    assert hold.reason == "gone"


def test_several_wait_for_one_region_in_order() -> None:
    table = HoldTable()
    holds = [add(table, A, 1), add(table, B, 1), add(table, A, 1, 2)]
    assert settle(table, 1) == holds
    assert table.waits_for(2)


def test_what_only_the_dead_waited_for_is_not_wanted() -> None:
    table = HoldTable()
    add(table, A, 1, 2)
    add(table, A, 3)
    add(table, B, 2)
    assert table.died(A) == [1, 3]
    table.check()
    assert [hold.peer for hold in settle(table, 2)] == [B]


@pytest.mark.parametrize("direction", ["_waiting", "_of", "_holds"])
def test_a_one_sided_entry_is_found_by_the_check(direction: str) -> None:
    table = HoldTable()
    add(table, A, 1)
    getattr(table, direction).clear()
    with pytest.raises((AssertionError, KeyError)):
        table.check()
