"""Actors as their creator knows them."""

from __future__ import annotations

import pytest

from tests.unit.core.names import OTHER_WORKER, WORKER, address, task
from zgen.core.actor_table import ActorTable, Standing
from zgen.core.actor_verdict import Verdict
from zgen.ids import ActorId, LeaseId, derive_actor_lease
from zgen.wire.actor import ActorSettings

ACTOR, OTHER = ActorId(task("actor")), ActorId(task("other"))


def table_of(settings: ActorSettings | None = None) -> ActorTable:
    table = ActorTable()
    table.add(ACTOR, settings or ActorSettings())
    table.check()
    return table


def test_each_try_has_a_lease_of_its_own() -> None:
    table = table_of()
    first = table.ask(ACTOR)
    assert first == derive_actor_lease(ACTOR, 0)
    assert table.end_lease(ACTOR) == first
    assert table.end_lease(ACTOR) is None
    assert table.ask(ACTOR) == derive_actor_lease(ACTOR, 1)
    table.check()


def test_a_lease_is_granted_once() -> None:
    table = table_of()
    lease = table.ask(ACTOR)
    assert table.granted(LeaseId(b"?" * 16), address("worker"), 7) is None
    assert table.granted(lease, address("worker"), 7) == ACTOR
    assert table.granted(lease, address("other worker"), 8) is None
    assert table.on_worker(WORKER) == [ACTOR]
    assert table.on_worker(OTHER_WORKER) == []


@pytest.mark.parametrize(
    ("settings", "in_order"),
    [
        (ActorSettings(), True),
        (ActorSettings(max_concurrency=2), False),
        (ActorSettings(is_async=True), False),
        (ActorSettings(groups=(("io", 1),)), False),
    ],
)
def test_only_a_regular_actor_keeps_order(settings: ActorSettings, in_order: bool) -> None:
    assert table_of(settings).actors[ACTOR].in_order is in_order


def test_watchers_are_told_once_each_until_they_go() -> None:
    table = table_of()
    assert table.watch(OTHER, WORKER) is None
    table.watch(ACTOR, WORKER)
    record = table.watch(ACTOR, WORKER)
    assert record is not None
    assert list(record.watchers) == [WORKER]
    table.watch(ACTOR, OTHER_WORKER)
    table.unwatch(ACTOR, OTHER_WORKER)
    table.unwatch(OTHER, OTHER_WORKER)
    table.forget_watcher(WORKER)
    assert not record.watchers


def test_a_dead_actor_is_forgotten_when_neither_handle_nor_worker_is_left() -> None:
    table = table_of()
    lease = table.ask(ACTOR)
    table.granted(lease, address("worker"), 7)
    record = table.actors[ACTOR]
    record.standing.move(Standing.DEAD, 0, "test")
    record.verdict = Verdict(0, True, "test")
    table.forget_if_over(ACTOR)
    record.has_handle = False
    table.forget_if_over(ACTOR)
    assert ACTOR in table.actors, "its worker is still there"
    table.end_lease(ACTOR)
    table.forget_if_over(ACTOR)
    assert ACTOR not in table.actors
    table.check()
