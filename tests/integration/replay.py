"""Feed fresh machines with a record of what real ones went through."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Any

from zgen.core import (
    actor_effects,
    actor_events,
    effects,
    events,
    handshake_events,
    node_effects,
    node_events,
    store_effects,
    store_events,
    task_spec,
)
from zgen.core.identity import Identity
from zgen.core.machine import Machine
from zgen.core.process import ProcessMachine
from zgen.io.recorder import line_of
from zgen.wire import schema, value
from zgen_node.core.node import NodeMachine

_MODULES = (
    actor_effects,
    actor_events,
    effects,
    events,
    handshake_events,
    node_effects,
    node_events,
    store_effects,
    store_events,
    task_spec,
    value,
)


def readable_classes() -> dict[str, Any]:
    """Return every class that the repr of an event or of a machine may name."""
    said = {
        name: each
        for module in _MODULES
        for name, each in vars(module).items()
        if dataclasses.is_dataclass(each) or isinstance(each, enum.EnumMeta)
    }
    made = (*schema.LAYOUTS, Identity, ProcessMachine, NodeMachine)
    return {**said, **{cls.__name__: cls for cls in made}, "__builtins__": {}}


def steps_of(record: Path) -> tuple[str, list[str]]:
    """Return how the machine is made, and its steps without one that a kill may have torn."""
    machine, *steps = record.read_text(encoding="utf-8").split("\n")
    return machine, steps[:-1]


class Replay:
    """A fresh machine that goes through a record.

    Attributes:
        machine: The machine after the last step that was the same.
        count: Steps that gave the same effects.
        first_other: The first line that came out differently: as recorded, and as now.
    """

    def __init__(self, made_by: str, steps: list[str]) -> None:
        names = readable_classes()
        self.machine: Machine = eval(made_by, names)
        self.count = 0
        self.first_other: tuple[str, str] | None = None
        for recorded in steps:
            now_ns, event_text, _ = recorded.split("\t")
            event = eval(event_text, names)
            again = line_of(int(now_ns), event, self.machine.step(event, int(now_ns)))
            if again != recorded:
                self.first_other = recorded, again
                return
            self.count += 1
