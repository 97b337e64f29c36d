"""The scenarios that ``scripts/sim.py`` runs, by name: shares of its seeds, and marks to reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.sim.absent_run import run_absent
from tests.sim.actor_run import run_actors
from tests.sim.borrowing import run_borrowing
from tests.sim.census_run import run_census
from tests.sim.copies_run import run_copies
from tests.sim.detached_run import run_detached
from tests.sim.dialogue_run import run_dialogue
from tests.sim.drain_run import run_drain
from tests.sim.ends_run import run_ends
from tests.sim.handover import run_handover
from tests.sim.marks import (
    ABSENT,
    ACTORS,
    BORROWING,
    CLUSTER,
    COPIES,
    DETACHED,
    DIALOGUE,
    DRAIN,
    ENDS,
    HANDOVER,
    NAMED,
    ONEWAY,
    PRESSURE,
    REBUILD,
    REKEY,
    SLEEPERS,
    STOPPED,
    SURVIVAL,
)
from tests.sim.names_run import run_names
from tests.sim.nodes_run import run_nodes
from tests.sim.oneway_run import run_oneway
from tests.sim.pressure_run import run_pressure
from tests.sim.rebuild_run import run_rebuild
from tests.sim.rekey_run import run_rekey
from tests.sim.run import Outcome, run_seed
from tests.sim.sleepers_run import run_sleepers
from tests.sim.state_run import run_state
from tests.sim.stopped_run import run_stopped
from tests.sim.survival_run import run_survival
from zgen.sim.trace import Trace

SCENARIOS: Final[dict[str, Callable[[int, Trace | None], Outcome]]] = {
    "cluster": run_seed,
    "actors": run_actors,
    "borrowing": run_borrowing,
    "nodes": run_nodes,
    "survival": run_survival,
    "copies": run_copies,
    "rebuild": run_rebuild,
    "state": run_state,
    "drain": run_drain,
    "census": run_census,
    "ends": run_ends,
    "oneway": run_oneway,
    "stopped": run_stopped,
    "dialogue": run_dialogue,
    "names": run_names,
    "detached": run_detached,
    "pressure": run_pressure,
    "handover": run_handover,
    "rekey": run_rekey,
    "sleepers": run_sleepers,
    "absent": run_absent,
}
#: Scenario -> how many of its seeds ``make sim`` runs.
SHARES: Final[dict[str, int]] = {
    "cluster": 100,
    "actors": 25,
    "borrowing": 25,
    "nodes": 25,
    "survival": 25,
    "copies": 25,
    "rebuild": 25,
    "state": 10,
    "drain": 10,
    "census": 10,
    "ends": 25,
    "oneway": 35,
    "stopped": 25,
    "dialogue": 25,
    "names": 10,
    "detached": 10,
    "pressure": 12,
    "handover": 25,
    "rekey": 10,
    "sleepers": 10,
    "absent": 10,
}
#: Scenario -> its part of another number of seeds, in thousandths. What every program does gets the
#: greatest part, cluster and actors; of the others a scenario gets the less the more CPU its seeds
#: take, and yet as many of 1000 as it must run to be asked for its marks.
PARTS: Final[dict[str, int]] = {
    "cluster": 240,
    "actors": 200,
    "borrowing": 100,
    "nodes": 50,
    "survival": 45,
    "copies": 40,
    "rebuild": 45,
    "state": 30,
    "drain": 35,
    "census": 30,
    "ends": 25,
    "oneway": 35,
    "stopped": 25,
    "dialogue": 25,
    "names": 25,
    "detached": 25,
    "pressure": 25,
    "handover": 25,
    "rekey": 25,
    "sleepers": 25,
    "absent": 25,
}
#: Scenario -> from how many seeds on it must have reached which marks between them.
REQUIRED: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "cluster": (100, CLUSTER),
    "actors": (25, ACTORS),
    "borrowing": (25, BORROWING),
    "nodes": (25, ()),
    "survival": (25, SURVIVAL),
    "copies": (25, COPIES),
    "rebuild": (25, REBUILD),
    "state": (10, ()),
    "drain": (25, DRAIN),
    "census": (10, ()),
    "ends": (25, ENDS),
    "oneway": (35, ONEWAY),
    "stopped": (25, STOPPED),
    "dialogue": (25, DIALOGUE),
    "names": (25, NAMED),
    "detached": (25, DETACHED),
    "pressure": (25, PRESSURE),
    "handover": (25, HANDOVER),
    "rekey": (25, REKEY),
    "sleepers": (25, SLEEPERS),
    "absent": (25, ABSENT),
}
