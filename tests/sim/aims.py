"""Every kind of message under every fault: which seeds it flows in, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

from tests.sim.absent_run import AbsentRun
from tests.sim.actor_run import ActorRun
from tests.sim.aimed_seeds import SEEDS
from tests.sim.borrowing import Run as BorrowRun
from tests.sim.census_run import CensusRun
from tests.sim.copies_run import CopiesRun
from tests.sim.detached_run import DetachedRun
from tests.sim.dialogue_run import DialogueRun
from tests.sim.drain_run import DrainRun
from tests.sim.ends_run import EndsRun
from tests.sim.handover import HandRun
from tests.sim.joined import SETTLE_NS, SILENCE_NS, JoinedNodes, suffer
from tests.sim.names_run import NamesRun
from tests.sim.nodes_run import NodesRun
from tests.sim.oneway_run import OneWayRun
from tests.sim.pressure_run import PressureRun
from tests.sim.rebuild_run import RebuildRun
from tests.sim.rekey_run import RekeyRun
from tests.sim.run import SAFETY_NS, Run, Scenario, run_seed
from tests.sim.sleepers_run import Sleepers
from tests.sim.state_run import StateRun
from tests.sim.stopped_run import StoppedRun
from tests.sim.survival_run import SurvivalRun
from tests.sim.talk_run import TalkRun
from zgen.io.inquiry import Inquiry
from zgen.limits import MS, SECOND
from zgen.mishaps.catalogue import Action, names
from zgen.sim.aim import Aim, Crash, Ender, Fault
from zgen.sim.oracle import Marks, SimulationFailure
from zgen.sim.trace import Trace
from zgen.sim.world import Life, World

FAULTS: Final[tuple[Fault, ...]] = (*Action, *Crash)
DELAY_NS: Final = 10 * SECOND
#: How late who dies by a message comes back.
_BACK_NS: Final = 20 * MS
JOINED: Final = "joined"
INDIRECT: Final = "indirect"
RUNS: Final[dict[str, Callable[[int, Trace | None], Scenario]]] = {
    "cluster": Run,
    "actors": ActorRun,
    "borrowing": BorrowRun,
    "nodes": NodesRun,
    "survival": SurvivalRun,
    "copies": CopiesRun,
    "rebuild": RebuildRun,
    "state": StateRun,
    "detached": DetachedRun,
    "drain": DrainRun,
    "census": CensusRun,
    "ends": EndsRun,
    "oneway": OneWayRun,
    "stopped": StoppedRun,
    "dialogue": DialogueRun,
    "names": NamesRun,
    "pressure": PressureRun,
    "handover": HandRun,
    "talk": TalkRun,
    "rekey": RekeyRun,
    "sleepers": Sleepers,
    "absent": AbsentRun,
}
#: What no scenario sends, and why.
NOT_SENT: Final[dict[str, str]] = {}
#: Kinds outside the session that nothing answers.
UNANSWERED: Final = (
    "Goodbye",
    "PingAck",
    "IndirectAck",
    "Gossip",
    "JoinAnswer",
    "PushPull",
    "Fence",
    "NodeState",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one kind of message.

    Attributes:
        kind: Name of the kind.
        fault: What is done to the first one that it can be done to.
    """

    kind: str
    fault: Fault


@dataclass(slots=True)
class Result:
    """What came of a case.

    Attributes:
        case: The case.
        scenario: What was run.
        seed: Which seed of it.
        hits: Whether the fault was made: 1, or 0.
        failure: What went wrong, or nothing.
        seen: How many messages of each kind there were.
    """

    case: Case
    scenario: str
    seed: int
    hits: int = 0
    failure: str = ""
    seen: dict[str, int] = field(default_factory=dict)


def cases() -> Iterator[Case]:
    """Yield each fault at each kind that it can befall."""
    for kind in names().values():
        if kind in NOT_SENT:
            continue
        for fault in FAULTS:
            if fault is not Action.REPLY_DROP or kind not in UNANSWERED:
                yield Case(kind, fault)


def run_case(case: Case) -> Result:
    """Run the seeds of a kind until the fault could be made in one."""
    result = Result(case, "", 0)
    for scenario, seed in SEEDS.get(case.kind, ()):
        result = run_at(case, scenario, seed)
        if result.hits or result.failure:
            break
    return result


def run_at(case: Case, scenario: str, seed: int) -> Result:
    """Make a fault in one seed of a scenario."""
    result = Result(case, scenario, seed)
    aims: list[Aim] = []

    def aim(world: World, ender: Ender) -> None:
        aims.append(Aim(world, case.kind, case.fault, 0, DELAY_NS, ender))

    if scenario in MEMBERS:
        with Marks():
            nodes = JoinedNodes(seed)
            aim(nodes.world, partial(_ender_of_member, nodes))
            try:
                MEMBERS[scenario](nodes, seed)
            except (SimulationFailure, AssertionError) as failure:
                result.failure = f"{type(failure).__name__}: {failure}"
    else:

        def make(number: int, trace: Trace | None) -> Scenario:
            run = RUNS[scenario](number, trace)
            aim(run.cluster.world, partial(_ender, run))
            return run

        try:
            outcome = run_seed(seed, Trace(hashes=False), make)
            result.failure = str(outcome.failure or "")
        except (ValueError, TypeError, AttributeError) as error:  # in the test's own code
            result.failure = f"{type(error).__name__}: {error}"
    result.hits, result.seen = aims[0].hits, aims[0].seen
    return result


def _apart(nodes: JoinedNodes, seed: int) -> None:
    """Have two of three nodes not reach each other for so long that they ask the third one."""
    one, other, _ = nodes.begin(), nodes.begin(), nodes.begin()
    nodes.run(1 * SECOND)
    nodes.world.network.partition(one.name, other.name)
    nodes.run(1 * SECOND)
    nodes.world.network.repair(one.name, other.name)
    nodes.run(SILENCE_NS + SETTLE_NS)
    nodes.nobody_died_falsely()
    nodes.agree()


#: Scenarios of nodes with their own membership.
MEMBERS: Final[dict[str, Callable[[JoinedNodes, int], None]]] = {JOINED: suffer, INDIRECT: _apart}


def _ender(run: Scenario, life: Life) -> Callable[[], None] | None:
    """Return what ends a process as the strokes of its scenario do, if that survives it."""
    cluster, world = run.cluster, run.cluster.world
    if life.number in cluster.workers:
        return partial(world.crash, life)
    if isinstance(run, RekeyRun) and isinstance(life.machine, Inquiry):
        return partial(world.crash, life)
    # The end of a scenario of detached actors is a hardship too.
    if not isinstance(run, Run) or (world.now_ns >= SAFETY_NS and not isinstance(run, DetachedRun)):
        return None
    again: Callable[..., None] = run._revive
    given: tuple[Life, ...] = (life,) if isinstance(run, NodesRun) else ()
    if any(user.life is life for user in cluster.drivers.values()):
        if isinstance(run, NodesRun):
            again, given = run._driver_again, (run.cluster.homes[life.number],)
        else:
            again, given = run._begin_driver_again, (life,)
    elif isinstance(run, NodesRun):
        nodes = run.cluster.living()
        if life not in nodes or len(nodes) < 2 or len(nodes) < len(run.cluster.nodes):
            return None
    elif life is not cluster.node:
        return None

    def end() -> None:
        world.crash(life)
        world.at(_BACK_NS, again, given)

    return end


def _ender_of_member(nodes: JoinedNodes, life: Life) -> Callable[[], None] | None:
    """Return what ends a node, if others are left whom those that join now know too."""
    joined_count = sum(name in nodes.joined for name in nodes.nodes)
    if joined_count < 3 or nodes.nodes.get(life.name) is not life:
        return None
    return partial(nodes.crash, life)


def is_missed(result: Result) -> bool:
    """Return whether a fault was not made that can be made to every kind."""
    return isinstance(result.case.fault, Action) and not result.hits


def table(results: list[Result]) -> str:
    """Return kinds by faults: ``yes`` survived, ``-`` could not be made, ``**no**`` went wrong."""
    head = ["kind", *(_title(fault) for fault in FAULTS)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    found = {(each.case.kind, each.case.fault): each for each in results}
    for kind in names().values():
        cells = [_cell(kind, fault, found.get((kind, fault))) for fault in FAULTS]
        lines.append("| " + " | ".join([kind, *cells]) + " |")
    return "\n".join(lines)


def _title(fault: Fault) -> str:
    return cast("str", fault.value).replace("_", " ")


def _cell(kind: str, fault: Fault, result: Result | None) -> str:
    if kind in NOT_SENT:
        return "not sent"
    if result is None:
        return "no answer" if fault is Action.REPLY_DROP and kind in UNANSWERED else ""
    if result.failure:
        return "**no**"
    return "yes" if result.hits else "-"
