"""What may befall members, one hardship a seed, and what must hold of them all the same."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.swim import Life, SwimWorld, knows
from zgen.core.effects import Report
from zgen.core.events import Leave
from zgen.ids import PeerId
from zgen.limits import MS, SECOND
from zgen.sim.oracle import Kind, Oracle, SimulationFailure
from zgen.wire.membership import DRAINING
from zgen_node.core.membership_words import (
    Drain,
    Join,
    LinkBroken,
    LinkRestored,
    PeerRefused,
    Publish,
    WatchMember,
)
from zgen_node.io import rejoining

#: Dead after at most this long without a sound: ten seconds, and one for a member that is slower
#: because it takes the fault for its own.
SILENT_NS_MAX = 11 * SECOND
#: Two sides of a cut are one cluster again at most so long after it has healed.
MERGED_NS_MAX = 5 * SECOND

#: Within this long all know a node whose door died as it came in: far sooner than they compare.
ORPHAN_NS_MAX = 1500 * MS


class Members(Oracle):
    """One seed: a cluster, one hardship, and what must hold.

    Attributes:
        excused: Nodes that may be declared dead although they live.
    """

    promise = "P7"

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = SwimWorld(seed)
        self.random = self.world.random
        self.world.keep_effects = True
        self.world.checks_every = 1
        self.world.loss = self.random.choice((0.0, 0.02, 0.05))
        self.world.repeat = self.random.choice((0.0, 0.02))
        self.world.on_down = self.on_down
        self.excused: dict[PeerId, None] = {}

    def on_down(self, life: Life, node: PeerId, reason: str) -> None:
        """Nobody tells the death of the living, nor after it is fenced itself."""
        self.require(life.alive, f"{life.name} tells deaths after its own end")
        other = self.world.lives[node]
        told = other.alive and node not in self.excused and life.node not in self.excused
        self.require(not told, f"{life.name} holds {other.name} for {reason}, which lives")

    def found(self, low: int, high: int) -> list[Life]:
        lives = self.world.found(self.random.randint(low, high))
        self.world.run(self.random.randrange(3 * SECOND))
        return lives

    def alive(self) -> list[Life]:
        return [life for life in self.world.lives.values() if life.alive]

    # -- what must hold ----------------------------------------------------------------------------
    def agrees(self) -> bool:
        """Whether everybody knows everybody who lives, and what each says of itself."""
        living = self.alive()
        words = {life.node: life.machine.standing.me for life in living}
        for life in living:
            view = life.machine.standing.view.members
            if len(view) != len(living) - 1 or life.machine.standing.doubts.suspicions:
                return False
            for node, member in view.items():
                if node not in words or member.said != words[node]:
                    return False
        return True

    def settle(self, within_ns: int, what: str, count: int = 0) -> None:
        """Require that views agree in time, with at least so many members."""
        agreed = self.world.run(within_ns, lambda: len(self.alive()) >= count and self.agrees())
        views = {life.name: len(life.machine.standing.view) for life in self.alive()}
        self.require(agreed, f"views differ after {what}: {views}", Kind.LIVENESS)

    def told(self, dead: Life, watchers: list[Life], within_ns: int) -> None:
        """Require that each of these told a death in time."""
        ended_ns = dead.ended_ns if dead.ended_ns is not None else 0
        for life in watchers:
            told_ns = life.downs.get(dead.node)
            self.require(
                told_ns is not None and told_ns - ended_ns <= within_ns,
                f"{life.name} told the death of {dead.name} at {told_ns}, it was at {ended_ns}",
                Kind.LIVENESS,
            )

    def has(self, life: Life, kind: type, node: PeerId) -> int:
        """Return how often a member told this of another."""
        return sum(
            type(effect) is kind and getattr(effect, "node", b"") == node for effect in life.effects
        )

    # -- hardships ---------------------------------------------------------------------------------
    def vanish(self) -> None:
        """Nodes vanish: everybody hears within ten seconds."""
        lives = self.found(3, 12)
        dead = lives[: self.random.randint(1, len(lives) // 3)]
        for life in dead:
            self.world.kill(life)
        self.world.run(SILENT_NS_MAX)
        for life in dead:
            self.told(life, self.alive(), SILENT_NS_MAX)
        self.settle(5 * SECOND, "deaths")

    def refuse(self) -> None:
        """A process is killed and its port refuses: everybody hears within a second."""
        lives = self.found(2, 12)
        self.world.kill(lives[0], refuses=True, lines=self.random.choice((1, 2, 12)))
        self.world.run(SECOND)
        if self.world.loss < 0.03:
            self.told(lives[0], self.alive(), SECOND)
        self.settle(SILENT_NS_MAX, "a killed process")
        self.told(lives[0], self.alive(), SILENT_NS_MAX)

    def hiccup(self) -> None:
        """One member's dial is refused by a port that is there for all others: nobody dies."""
        lives = self.found(3, 8)
        for _ in range(5):
            self.world.step(lives[0], PeerRefused(lives[1].node))
            self.world.run(self.random.randrange(SECOND))
        self.settle(5 * SECOND, "refused dials")

    def zombie(self) -> None:
        """A node stands still until it is dead, wakes, learns of it and comes back as another."""
        lives = self.found(3, 10)
        self.world.rejoins = True
        zombie = self.random.choice(lives)
        self.excused[zombie.node] = None
        zombie.downs.clear()
        self.world.pause(zombie, 20 * SECOND)
        self.world.run(20 * SECOND - 1)
        woken_ns = self.world.now_ns
        self.require(not self.world.run(0, lambda: knows(lives[0], zombie.node)), "never dead")
        self.world.run(5 * SECOND)
        self.require(zombie.fenced is not None, "a zombie goes on", Kind.LIVENESS)
        self.require(not zombie.downs, "a zombie holds the living for dead")
        self.settle(woken_ns + 8 * SECOND - self.world.now_ns, "a zombie", len(lives))
        self.require(len(self.alive()) == len(lives), "a zombie did not come back")

    def nap(self) -> None:
        """Two nodes stand still, one after the other: they are suspected at most.

        The second one slept through what the first said against its suspicion.
        """
        lives = self.found(3, 10)
        self.world.pause(lives[1], 5 * SECOND)
        self.world.run(4 * SECOND)
        self.world.pause(lives[0], self.random.randint(5000, 5400) * MS)
        self.settle(15 * SECOND, "a nap")

    def blackout(self) -> None:
        """All links of half of the nodes are down for five seconds: nobody is declared dead."""
        lives = self.found(2, 12)
        half = {life.node for life in lives[: len(lives) // 2]}
        self.world.blocked = lambda one, other: one.node in half or other.node in half
        self.world.run(5 * SECOND)
        self.world.blocked = None
        self.settle(10 * SECOND, "a blackout")

    def parted(self) -> None:
        """A cut long enough that each side drops the other; one of them joins the other anew."""
        lives = self.found(4, 10)
        self.world.rejoins = True
        one = {life.node for life in lives[: self.random.randint(1, len(lives) - 1)]}
        self.excused = dict.fromkeys(life.node for life in lives)
        self.world.blocked = lambda a, b: (a.node in one) is not (b.node in one)
        self.world.run(20 * SECOND)
        for life in lives:
            known = len(life.machine.standing.view)
            own = len(one) if life.node in one else len(lives) - len(one)
            self.require(known == own - 1, f"{life.name} knows {known} behind a cut")
        self.world.blocked = None
        self.settle(10 * SECOND, "a cut", len(lives))
        stayed = [life for life in lives if life.alive]
        self.require(len(self.alive()) == len(lives), "not all came back")
        self.require(len({life.node in one for life in stayed}) == 1, "both sides stayed")
        larger = max(len(one), len(lives) - len(one))
        self.require(len(stayed) == larger, f"{len(stayed)} stayed, not the larger side")

    def merged(self) -> None:
        """A cut of a larger cluster, in which others died before: one view soon after it heals."""
        before = self.random.choice((0, 6, 20))
        lives = self.found(16, 30)
        self.world.rejoins = True
        self.excused = dict.fromkeys(life.node for life in lives)
        for life in self.random.sample(lives, min(before, len(lives) - 8)):
            self.world.kill(life)
        self.world.run(self.random.choice((20, 80)) * SECOND)
        living = self.alive()
        cut = self.random.sample(living, self.random.randint(1, len(living) // 2))
        one = {life.node for life in cut}
        self.world.blocked = lambda a, b: (a.node in one) is not (b.node in one)
        is_long = self.random.random() < 0.3
        self.world.run((100 if is_long else 16) * SECOND)
        self.world.blocked = None
        self.settle(20 * SECOND if is_long else MERGED_NS_MAX, "a cut", len(living))
        ended = {life.node for life in living if not life.alive}
        other = {life.node for life in living} - one
        smaller = (one, other) if len(one) == len(other) else (one,)
        self.require(ended in smaller, f"{len(ended)} ended, the smaller side has {len(one)}")

    def doors(self) -> None:
        """Who is declared dead comes back, although those whom it knew best are gone by then."""
        lives = self.found(12, 16)
        first, zombie = self.random.sample(lives, 2)
        self.excused[zombie.node] = None
        self.world.pause(zombie, 20 * SECOND)
        self.world.run(21 * SECOND, lambda: zombie.fenced is not None)
        self.require(zombie.fenced is not None, "a zombie goes on", Kind.LIVENESS)
        assert zombie.fenced is not None
        told = [self.world.at_endpoint[each] for each in zombie.fenced.endpoints]
        if self.random.random() < 0.5:  # who told it is gone, and its first seed
            gone = [told[0], first]
        else:  # all are gone of whom it remembers the place but for its first seed
            gone = [life for life in (*told[:4], told[-1]) if life is not first]
        for life in gone:
            self.world.kill(life)
        zombie.seeds = (first.endpoint,)
        self._rejoin(zombie)
        self.settle(25 * SECOND, "a comeback", len(lives) - len({life.name for life in gone}))

    def _rejoin(self, life: Life) -> None:
        """Let a node come back that remembers few doors."""
        before = vars(rejoining)["SEEDS_COUNT_MAX"]
        vars(rejoining)["SEEDS_COUNT_MAX"] = 4
        try:
            self.world.rejoin(life)
        finally:
            vars(rejoining)["SEEDS_COUNT_MAX"] = before

    def one_way(self) -> None:
        """Nothing goes from one node to another: both tell of a broken link, and of its mending."""
        lives = self.found(3, 5)
        a, b = lives[:2]
        self.world.blocked = lambda one, other: one is a and other is b
        self.world.run(SILENT_NS_MAX)
        for one, other in ((a, b), (b, a)):
            self.require(
                self.has(one, LinkBroken, other.node) == 1, "a half-open link goes unnoticed"
            )
        self.world.blocked = None
        self.world.run(5 * SECOND)
        for one, other in ((a, b), (b, a)):
            self.require(
                self.has(one, LinkRestored, other.node) == 1, "a mended link goes unnoticed"
            )
        self.settle(5 * SECOND, "a one-way cut")

    def comings(self) -> None:
        """Nodes join by any member, publish, drain, leave; all know the same in the end."""
        first = self.world.start()
        self.world.step(first, Join((first.endpoint,)))
        for _ in range(self.random.randint(2, 9)):
            seeds = [life.endpoint for life in self.random.sample(self.alive(), 1)]
            self.world.step(self.world.start(), Join(("tcp://nobody:1", *seeds)))
            self.world.run(self.random.randrange(2 * SECOND))
        self.world.run(3 * SECOND)
        lives = self.alive()
        for life in lives:
            self.world.step(life, Publish(self.random.randbytes(self.random.randrange(200))))
        self.world.run(self.random.randrange(SECOND))
        self.world.step(lives[-1], Drain())
        self.excused[lives[0].node] = None
        self.world.step(lives[0], Leave("done"))
        self.settle(15 * SECOND, "comings and goings")
        self.require(lives[0] not in self.alive(), "one that left is still there")
        for life in self.alive():
            self.require(lives[0].node in life.downs, "a leave was not told")
        phase = lives[-1].machine.standing.me.phase
        self.require(phase == DRAINING, "a drain got lost")

    def large(self) -> None:
        """A cluster too large to know all: those who know a dead one hear of it, once."""
        self.world.full_count_max, self.world.partial_count = 20, 10
        lives = self.found(30, 50)
        dead = lives[-1]
        watcher = self.random.choice(lives[:-1])
        self.world.step(watcher, WatchMember(dead.node, dead.endpoint))
        joined = self.world.start()
        self.world.step(joined, Join((lives[0].endpoint,)))
        self.world.run(SECOND)
        self.require(joined.machine.joined, "no room in a large cluster", Kind.LIVENESS)
        watchers = [life for life in self.alive() if knows(life, dead.node)]
        self.require(watcher in watchers, "a watched member is not known")
        self.world.kill(dead, refuses=self.random.random() < 0.5)
        self.world.run(SILENT_NS_MAX)
        self.told(dead, [life for life in watchers if life.alive], SILENT_NS_MAX)
        self.world.run(20 * SECOND)
        knowers = sum(knows(life, joined.node) for life in self.alive())
        self.require(knowers > 0, "nobody knows who joined", Kind.LIVENESS)

    def orphaned(self) -> None:
        """A member lets a node in and is dead before it has told anybody: all know it soon."""
        lives = self.found(5, 10)
        door, joined = self.random.choice(lives), self.world.start()
        self.world.step(joined, Join((door.endpoint,)))
        self.world.run(2 * SECOND, lambda: joined.machine.joined)
        self.require(joined.machine.joined, "no answer at the door", Kind.LIVENESS)
        self.world.kill(door)
        self.world.run(ORPHAN_NS_MAX)
        strangers = [
            life.name
            for life in self.alive()
            if life is not joined and not knows(life, joined.node)
        ]
        self.require(not strangers, f"{strangers} do not know who came last", Kind.LIVENESS)
        self.settle(15 * SECOND, "a door that died")

    def run(self) -> None:
        hardships: tuple[Callable[[], None], ...] = (
            self.vanish,
            self.refuse,
            self.hiccup,
            self.zombie,
            self.nap,
            self.blackout,
            self.parted,
            self.one_way,
            self.comings,
            self.large,
            self.merged,
            self.doors,
        )
        if self.seed % 25 == 24:
            self.orphaned()
        else:
            hardships[self.seed % len(hardships)]()
        reports = [
            effect
            for life in self.world.lives.values()
            for effect in life.effects
            if type(effect) is Report
        ]
        self.require(not reports, f"members complain: {reports[:3]}")


def run_swim(seed: int) -> str:
    """Run one seed; return what went wrong, or nothing."""
    try:
        Members(seed).run()
    except (SimulationFailure, AssertionError) as failure:
        return f"{type(failure).__name__}: {failure}"
    return ""
