"""Slabs of what a driver owns are mapped once, in time, and let go when nothing is left in them."""

from __future__ import annotations

import threading

import pytest

from tests.integration.watching import wait_until
from zgen.core.region_table import Region
from zgen.exceptions import NodeDiedError
from zgen.runtime import slab_keeper
from zgen.runtime.slab_keeper import SlabKeeper
from zgen.wire.store import Place


class Driver:
    """A table of regions and a memory that says what it was asked for."""

    def __init__(self) -> None:
        self.regions: dict[int, Region] = {}
        self.lock = threading.RLock()
        self.kept: list[int] = []
        self.let_go: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: BaseException | None = None
        self.keeper = SlabKeeper(self.regions, self.lock, self.keep, self.let_go.append)

    def keep(self, place: Place) -> None:
        self.gate.wait(10)
        self.kept.append(place.slab)
        if self.failure is not None:
            raise self.failure

    def own(self, region: int, slab: int) -> None:
        place = Place(slab, 0, 4096, 4096, True)
        self.regions[region] = Region(place, 4096, True, named=True)

    def look(self) -> None:
        with self.lock:
            self.keeper.look()

    def settle(self) -> list[int]:
        wait_until(lambda: not self.keeper._working, 10, "the thread is done")
        return self.kept


def test_each_slab_is_kept_once() -> None:
    driver = Driver()
    for region, slab in enumerate([1, 1, 2, 1, 2]):
        driver.own(region, slab)
        driver.look()
    assert sorted(driver.settle()) == [1, 2]


def test_several_regions_at_once_are_all_seen() -> None:
    driver = Driver()
    driver.own(0, 1)
    driver.look()
    for region in range(1, 9):
        driver.own(region, region)
    driver.look()
    assert sorted(driver.settle()) == list(range(1, 9))


def test_a_region_that_is_not_in_memory_has_no_slab() -> None:
    driver = Driver()
    driver.regions[1] = Region(None, 4096, True)
    driver.look()
    driver.own(2, 7)
    driver.look()
    assert driver.settle() == [7]


def test_nothing_new_is_nothing_to_do() -> None:
    driver = Driver()
    driver.look()
    driver.own(1, 1)
    driver.look()
    driver.settle()
    driver.look()
    assert driver.settle() == [1]
    assert not driver.keeper._working


def test_a_node_that_is_stopped_holds_up_nobody_and_is_asked_for_all_later() -> None:
    driver = Driver()
    driver.gate.clear()
    for region in range(5):
        driver.own(region, region)
        driver.look()
    assert driver.kept == []
    driver.gate.set()
    assert driver.settle() == list(range(5))


def test_a_slab_that_cannot_be_mapped_does_not_stop_the_others() -> None:
    driver = Driver()
    driver.failure = NodeDiedError("", "killed")
    for region in range(3):
        driver.own(region, region)
    driver.look()
    assert len(driver.settle()) == 3


def test_slabs_in_which_nothing_is_left_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slab_keeper, "_KEPT_COUNT_MIN", 4)
    driver = Driver()
    for region in range(4):
        driver.own(region, region)
        driver.look()
        driver.settle()
    for region in range(3):
        del driver.regions[region]
    assert driver.let_go == []
    driver.own(4, 4)
    driver.look()
    driver.settle()
    assert driver.let_go == [0, 1, 2]
    driver.own(5, 1)
    driver.look()
    assert driver.settle() == [0, 1, 2, 3, 4, 1]
