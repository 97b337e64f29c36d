"""Caller's side of actors: where each one is, and its calls in the order in which they leave.

Rules of this file: calls are ids in a queue; whether they may run again is not known here.

Theory of operation. A call waits until its actor is somewhere, and until what stands before it has
left if the actor keeps order; then it leaves for the worker at once. When a life of the actor ends,
two things are needed before its calls in flight are decided on: the creator's verdict, and that the
worker's line is quiet, so that what it reported before comes first. They may come in either order;
where the next life is counts only afterwards.
"""

from collections import OrderedDict
from dataclasses import field
from enum import Enum

from zgen.core.actor_verdict import Verdict
from zgen.core.marks import reached
from zgen.ids import ActorId, PeerId, TaskId, short
from zgen.limits import BATCH_COUNT_MAX, CROWD_COUNT, LINE_BUSY_NS, LINE_TICK_NS
from zgen.slotted import slotted
from zgen.wire.actor import ActorAt
from zgen.wire.session import Address


class Reach(Enum):
    """What is known of where an actor is."""

    UNKNOWN = "nothing yet, or its next life has not begun"
    THERE = "takes calls"
    LOST = "its life ended; its calls in flight are not decided on"
    DEAD = "there will be no other life"


@slotted
class Target:
    """One actor as a process sees it that calls it.

    Attributes:
        creator: Who supervises it.
        reach: What is known of where it is.
        life: The last life that is known of, from 0; -1 before the first.
        worker: Where that life is or was.
        in_order: Whether calls leave in their order, whatever their arguments wait for.
        queue: Calls that have not left, in order. Added by ``add`` and ``put_back``; removed by
            ``take`` and ``forget``.
        ready: Those of them that miss no argument.
        again: Calls that had left before and may leave once more, in order; they go before the
            queue, where others may wait for what they give. Added by ``is_ready``; removed by
            ``take`` and ``forget``.
        in_flight: Call -> number of its push in this life. Added by ``take``; removed by
            ``forget`` and ``decide``, and as they end.
        pushes: Calls pushed in this life.
        pushed_ns: When the last ones left.
        pending: Calls that have not ended, those that wait before they run again included.
        is_pinned: Whether the pending calls keep the handle object.
        is_down: Whether the worker of this life is dead and its line quiet.
        unsent: First push of this life that certainly never left, once ``is_down``.
        verdict: What the creator said of this life, once it is over.
        next: Where the next life is, while calls of this one are not decided on.
    """

    creator: Address
    reach: Reach = Reach.UNKNOWN
    life: int = -1
    worker: PeerId | None = None
    in_order: bool = True
    queue: OrderedDict[TaskId, None] = field(default_factory=OrderedDict)
    ready: dict[TaskId, None] = field(default_factory=dict)
    again: OrderedDict[TaskId, None] = field(default_factory=OrderedDict)
    in_flight: dict[TaskId, int] = field(default_factory=dict)
    pushes: int = 0
    pushed_ns: int = -LINE_BUSY_NS
    pending: int = 0
    is_pinned: bool = False
    is_down: bool = False
    unsent: int = 0
    verdict: Verdict | None = None
    next: ActorAt | None = None

    def is_busy(self, now_ns: int) -> bool:
        """Return whether calls are on their way and some left a moment ago.

        Where many are on their way, none of them is waited for: later ones may wait for company as
        long as any may.
        """
        count = len(self.in_flight)
        moment_ns = LINE_BUSY_NS if count < CROWD_COUNT else LINE_TICK_NS
        return count > 0 and now_ns - self.pushed_ns < moment_ns

    @property
    def is_decidable(self) -> bool:
        """Whether what is in flight can be decided on."""
        return self.verdict is not None and (self.is_down or not self.in_flight)


class ActorCalls:
    """The actors that this process calls."""

    def __init__(self) -> None:
        """Start without calls."""
        #: Actor -> record. Added by ``target``; removed by ``drop``.
        self.targets: dict[ActorId, Target] = {}

    def target(self, actor: ActorId, creator: Address) -> tuple[Target, bool]:
        """Return the record of an actor, and whether it is new."""
        known = self.targets.get(actor)
        if known is not None:
            return known, False
        target = self.targets[actor] = Target(creator)
        return target, True

    def add(self, target: Target, call: TaskId) -> None:
        """A call was made: it leaves after those that were made before."""
        target.queue[call] = None
        target.pending += 1

    def is_ready(self, target: Target, call: TaskId) -> None:
        """A call misses nothing any more; one that had left before goes before the others."""
        if call in target.queue:
            target.ready[call] = None
        else:
            reached("call leaves once more, before those that wait")
            target.again[call] = None

    def take(self, actor: ActorId, now_ns: int) -> tuple[int, list[TaskId]]:
        """Take out calls that leave now, a batch at most; return the number of the first push."""
        target = self.targets[actor]
        calls: list[TaskId] = []
        if target.reach is not Reach.THERE:
            return 0, calls
        queue, ready, first = target.queue, target.ready, target.pushes
        while target.again and len(calls) < BATCH_COUNT_MAX:
            call, _ = target.again.popitem(last=False)
            target.in_flight[call] = first + len(calls)
            calls.append(call)
        while len(calls) < BATCH_COUNT_MAX and ready:
            call = next(iter(queue if target.in_order else ready))
            if call not in ready:
                break
            del queue[call], ready[call]
            target.in_flight[call] = first + len(calls)
            calls.append(call)
        if calls:
            target.pushes += len(calls)
            target.pushed_ns = now_ns
        return first, calls

    def forget(self, actor: ActorId, call: TaskId) -> Target:
        """A call ended, wherever it was; return the record."""
        target = self.targets[actor]
        target.queue.pop(call, None)
        target.ready.pop(call, None)
        target.again.pop(call, None)
        target.in_flight.pop(call, None)
        target.pending -= 1
        return target

    def found(self, said: ActorAt) -> bool:
        """The actor is there; return whether that changes anything now."""
        target = self.targets.get(said.actor)
        if target is None or said.life <= target.life or target.reach is Reach.DEAD:
            return False
        if target.reach is Reach.LOST:
            target.next = said
            return False
        target.reach, target.life = Reach.THERE, said.life
        target.worker, target.in_order = said.worker.peer, said.in_order
        target.pushes = 0
        target.is_down = False
        target.verdict = None
        return True

    def judged(self, actor: ActorId, verdict: Verdict) -> bool:
        """The creator says that a life is over; return whether its calls can be decided on."""
        target = self.targets.get(actor)
        if target is None or verdict.life < target.life or target.reach is Reach.DEAD:
            return False
        target.verdict, target.next = verdict, None
        target.reach = Reach.LOST
        return target.is_decidable

    def on_down(self, worker: PeerId) -> list[ActorId]:
        """A process is dead and its line quiet; return the actors that lived there."""
        found: list[ActorId] = []
        for actor, target in self.targets.items():
            if target.next is not None and target.next.worker.peer == worker:
                target.next = None
            if target.worker == worker and not target.is_down:
                target.is_down, target.unsent = True, target.pushes
                if target.reach is Reach.THERE:
                    target.reach = Reach.LOST
                found.append(actor)
        return found

    def decide(self, actor: ActorId) -> tuple[Verdict, list[tuple[TaskId, bool]]]:
        """Close a life; return its verdict, and its calls in flight: may each have run?"""
        target = self.targets[actor]
        verdict = target.verdict
        assert verdict is not None, f"actor {short(actor)} has no verdict"
        unsent = target.unsent if target.is_down else target.pushes
        flown = [(call, push < unsent) for call, push in target.in_flight.items()]
        target.in_flight.clear()
        target.life, target.worker = verdict.life, None
        target.is_down = False
        target.reach = Reach.DEAD if verdict.is_dead else Reach.UNKNOWN
        return verdict, flown

    def put_back(self, actor: ActorId, calls: list[TaskId]) -> None:
        """Queue calls again that were in flight, in front of all others and in order."""
        target = self.targets[actor]
        for call in reversed(calls):
            target.queue[call] = None
            target.queue.move_to_end(call, last=False)
        target.ready = dict.fromkeys(calls) | target.ready

    def created_by(self, creator: PeerId) -> list[ActorId]:
        """Return the actors that ``creator`` supervises and that are not known to be dead."""
        return [
            actor
            for actor, target in self.targets.items()
            if target.creator.peer == creator and target.reach is not Reach.DEAD
        ]

    def drop(self, actor: ActorId) -> Target | None:
        """Forget an actor that has no pending calls; return what was known of it."""
        target = self.targets.pop(actor, None)
        assert target is None or not target.pending, f"actor {short(actor)} has calls"
        return target

    def check(self) -> None:
        """Assert the invariants of every record."""
        for actor, target in self.targets.items():
            who = f"actor {short(actor)}: {target}"
            waiting = [*target.queue, *target.again]
            assert target.pending >= len(waiting) + len(target.in_flight), who
            assert len(dict.fromkeys(waiting)) == len(waiting), who
            assert all(call in target.queue for call in target.ready), who
            assert target.reach is not Reach.DEAD or not (waiting or target.in_flight), who
            assert target.reach is not Reach.LOST or not target.is_decidable, who
            assert target.next is None or target.reach is Reach.LOST, who
            last = -1
            for push in target.in_flight.values():
                assert last < push < target.pushes, who
                last = push
