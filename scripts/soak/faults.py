"""Makes the faults of a schedule, each at its time, and mends what is to be mended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from scripts.soak.schedule import AWAY_MAX, KINDS, Fault
from scripts.soak.tally import Tally
from scripts.soak.watch import Watch
from zgen.chaos import schedule as chaos
from zgen.chaos.blows import Blow, strike
from zgen.exceptions import NodeStartError, ZgenError
from zgen.io.inquiry import query_node
from zgen.io.spawn import started_nodes
from zgen.testing import Cluster, Node

#: What a node of the soak has.
NODE: Final[dict[str, Any]] = {"num_cpus": 2, "object_store_memory": 256 << 20}
#: Which fault of `zgen chaos` a kind is.
OF_CHAOS: Final = {
    "worker": "kill-worker",
    "stop": "pause-worker",
    "zygote": "kill-zygote",
    "daemon": "kill-daemon",
    "supervisor": "kill-supervisor",
    "nap": "pause-node",
    "sleep": "pause-node",
    "reset": "cut",
}
_ADD_TRIES_COUNT: Final = 5
#: How long a new node is held back until the others agree, in seconds.
_AGREE_S: Final = 20.0
#: How often they are asked, in seconds.
_ASK_S: Final = 0.5


class Injector:
    """Makes faults in a thread.

    Attributes:
        slots: The nodes by number; None while one is away.
    """

    def __init__(
        self, cluster: Cluster, faults: list[Fault], tally: Tally, watch: Watch, said: bool
    ) -> None:
        """Take the nodes that there are; ``said``: whether to print each fault."""
        self.slots: list[Node | None] = list(cluster.nodes)
        self._cluster = cluster
        self._faults = faults
        self._tally = tally
        self._watch = watch
        self._said = said
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
        #: What faults that go on did, and what heals it.
        self._blows: dict[Fault, Blow] = {}
        #: Faults that were made.
        self._begun: dict[Fault, None] = {}
        #: Numbers of the nodes that do no work now.
        self._away: dict[int, None] = {}
        #: Numbers of the nodes that are asleep, and answer nobody.
        self._asleep: dict[int, None] = {}
        #: Starts and ends nodes, which takes time, so that other faults are mended in time.
        self._builder: Final = ThreadPoolExecutor(1)
        self._built: list[Future[None]] = []
        #: What cuts links now, and the nodes that are to be replaced when these are mended.
        self._cut_by: Fault | None = None
        self._wanted: list[int] = []
        self._makers: Final[dict[str, Callable[..., bool]]] = {
            "node": self._node,
            "leave": self._leave,
            "blip": self._cut,
            "cut": self._cut,
            "one-way": self._one_way,
            "split": self._cut,
        }

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more faults; mend those that go on."""
        self._stop.set()
        self._thread.join()
        self._builder.shutdown()

    def _run(self) -> None:
        steps: list[tuple[float, int, Callable[[Fault], None], Fault]] = []
        for number, fault in enumerate(self._faults):
            steps.append((fault.at_s, 2 * number, self._begin, fault))
            if fault.lasts_s:
                steps.append((fault.until_s, 2 * number + 1, self._end, fault))
        steps.sort(key=lambda step: step[:2])
        for at_s, _, act, fault in steps:
            ends = act == self._end
            if ends and fault not in self._begun:
                continue
            if self._stop.wait(max(0.0, at_s - self._tally.now_s)) and not ends:
                continue
            try:
                act(fault)
            except Exception as error:
                self._tally.wrong("wrong", f"fault {fault} failed: {type(error).__name__}: {error}")

    def _begin(self, fault: Fault) -> None:
        nodes = [node for slot in fault.slots if (node := self.slots[slot]) is not None]
        away = KINDS[fault.kind].is_away
        if len(nodes) < len(fault.slots) or (away and not self._can_spare(fault)):
            made = False
        elif KINDS[fault.kind].is_cut and not (self._is_built() and self._agree()):
            made = False  # who comes in meanwhile reaches both sides
        else:
            self._watch.excuse(fault, nodes)
            made = self._makers.get(fault.kind, self._strike)(fault, *nodes)
        if made:
            self._begun[fault] = None
            self._away.update(dict.fromkeys(fault.slots if away else ()))
            self._tally.fault(fault.kind)
        else:
            self._tally.skipped += 1
        if self._said:
            print(f"{fault}{'' if made else ' (not made)'}", flush=True)

    def _can_spare(self, fault: Fault) -> bool:
        """Return whether others stand in; nodes are replaced late where the machine is slow."""
        others = [slot for slot in self._away if slot not in fault.slots]
        return len(others) + len(fault.slots) <= AWAY_MAX

    def _is_built(self) -> bool:
        """Return whether no node is being started or ended."""
        return all(each.done() for each in self._built)

    def _build(self, act: Callable[..., None], *given: Any) -> None:
        self._built.append(self._builder.submit(act, *given))

    def _agree(self) -> bool:
        """Return whether all nodes that are there and awake know each other."""
        spared = [*self._away, *self._asleep]
        unasked = [node._facts.supervisor for slot in spared if (node := self.slots[slot])]
        wanted = [slot for slot, node in enumerate(self.slots) if node and slot not in spared]
        there = [each for each in started_nodes(embedded=True) if each.supervisor not in unasked]
        try:
            known = [query_node(each.address, each.folder, 1.0)["nodes"] for each in there]
        except ZgenError:
            return False
        ids = [each.address.peer.hex() for each in there]
        listed = [[row["node"] for row in rows] for rows in known]
        return len(there) == len(wanted) + 1 and all(id_ in ids_ for id_ in ids for ids_ in listed)

    def _end(self, fault: Fault) -> None:
        self._watch.over(fault)
        blow = self._blows.pop(fault, None)
        if blow is not None:
            assert blow.heal is not None
            blow.heal()
            self._asleep.pop(fault.slots[0], None)
            self._back(fault)
        elif KINDS[fault.kind].is_cut:
            self._cluster.heal()
            self._cut_by = None
            self._back(fault)
            while self._wanted:
                self._build(self._replace, self._wanted.pop())
        elif self._cut_by is not None:
            self._wanted.append(fault.slots[0])  # a new one would reach both sides
        else:
            self._build(self._replace, fault.slots[0])

    def _back(self, fault: Fault) -> None:
        for slot in fault.slots:
            self._away.pop(slot, None)

    def _replace(self, slot: int) -> None:
        deadline = time.monotonic() + _AGREE_S
        try:
            # One that joins by a node that was cut off, and has not heard so, is on its side.
            while not (self._stop.is_set() or self._agree()) and time.monotonic() < deadline:
                time.sleep(_ASK_S)
            self._make(slot)
            self._away.pop(slot, None)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            self._tally.wrong("wrong", f"no node in place of number {slot}: {told}")

    def _make(self, slot: int) -> None:
        for left in reversed(range(_ADD_TRIES_COUNT)):
            node = self.slots[slot]
            if node is not None:
                self.slots[slot] = None
                self._cluster.remove_node(node)
            try:
                self.slots[slot] = self._cluster.add_node(**NODE, resources={f"n{slot}": 100})
                return
            except NodeStartError:
                if not left:
                    raise
                time.sleep(1.0)

    def _strike(self, fault: Fault, node: Node) -> bool:
        """Make a fault that `zgen chaos` makes, too."""
        action = OF_CHAOS[fault.kind]
        sleeps = action == "pause-node"
        all_there = [each for each in self.slots if each is not None]
        befallen = all_there if fault.kind == "reset" and fault.die % 3 == 0 else [node]
        if sleeps:
            self._asleep[fault.slots[0]] = None
        blows = [
            strike(chaos.Fault(fault.at_s, action, fault.lasts_s, fault.die), [each._now()])
            for each in befallen
        ]
        made = [blow for blow in blows if blow.victim is not None]
        for blow in made:
            if blow.heal is not None:
                self._blows[fault] = blow
            if fault.kind == "worker" and blow.victim is not None:
                self._watch.killed(blow.victim.pid)
        if sleeps and not made:
            del self._asleep[fault.slots[0]]
        return bool(made)

    def _node(self, fault: Fault, node: Node) -> bool:
        self.slots[fault.slots[0]] = None
        self._cluster.remove_node(node)
        return True

    def _leave(self, fault: Fault, node: Node) -> bool:
        self.slots[fault.slots[0]] = None
        self._build(self._cluster.remove_node, node, True)
        return True

    def _cut(self, fault: Fault, *nodes: Node) -> bool:
        self._cut_by = fault
        others = [each for each in self._cluster.nodes if each not in nodes]
        self._cluster.partition(nodes, [*others, self._cluster.here])
        return True

    def _one_way(self, fault: Fault, one: Node, other: Node) -> bool:
        self._cut_by = fault
        self._cluster.partition([one], [other], one_way=True)
        return True
