"""Every pin of every object has one reason in `zgen.core.object_holds`, whatever happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.actor_run import run_actors
from tests.sim.run import Outcome, run_seed
from zgen.core.object_holds import pins_of
from zgen.core.process import ProcessMachine

#: Looking at every step would take a minute.
EVERY = 2


@pytest.mark.parametrize(("run", "seed"), [(run_seed, 8), (run_seed, 4), (run_actors, 2)])
def test_every_pin_has_a_reason(
    run: Callable[[int], Outcome], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, looks, seen = ProcessMachine.check, 0, dict.fromkeys(("", "pinned"), 0)

    def look(machine: ProcessMachine) -> None:
        nonlocal looks
        check(machine)
        looks += 1
        if looks % EVERY:
            return
        pins = pins_of(machine.owner, machine.executor)
        for name, record in machine.owner.refs.records.items():
            assert sum(pins.get(name, {}).values()) == record.pins, pins.get(name)
            seen["pinned" if record.pins else ""] += 1
        assert all(name in machine.owner.refs.records for name in pins)

    monkeypatch.setattr(ProcessMachine, "check", look)
    assert run(seed).failure is None
    assert min(seen.values()) > 10
