"""Bodies of simulated tasks: scripts that run in virtual time in a worker."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.sim.programs import (
    INTERRUPTED,
    NO_ROOM,
    Consumer,
    Ops,
    Plan,
    item_value,
    result_value,
)
from tests.sim.programs import RAISED as RAISED_TEXT
from tests.sim.store_user import NO_STREAM
from tests.sim.together import yield_together
from zgen.core.actor_events import ExitActor
from zgen.core.effects import HoldBody, StartTask
from zgen.core.events import BodyBlocked, TaskEnded, Yielded
from zgen.core.stream_words import AskPosition, AskRoom, GiveInput
from zgen.ids import COMPLETION_INDEX, ITEM_INDEX_FIRST, ActorId, ObjectId, TaskId, object_id
from zgen.limits import MS, REGION_SOON_NS
from zgen.wire.task import (
    OUTCOME_CANCELLED,
    OUTCOME_ERROR,
    OUTCOME_RETRY,
    OUTCOME_VALUE,
    RAISED,
    STREAMING,
)
from zgen.wire.value import NONE, Fault, Parcel, Stored, Value, whole_bytes

if TYPE_CHECKING:
    from tests.sim.cluster import Worker

#: A body that has its mark may still wait this long before its first line, as in a real worker.
START_NS_MAX = 100_000
#: A view of an argument that outlives its task does so for at most this long.
KEPT_NS_MAX = 20 * MS


#: Waits for something, then does what it is given.
Wait = Callable[[Callable[[], None]], None]


def error_value(task: TaskId, why: bytes = RAISED_TEXT) -> Parcel:
    return Parcel(why + task[:4], (), True)


class Body:
    """One execution of a task."""

    def __init__(self, worker: Worker, start: StartTask) -> None:
        self.worker = worker
        self.user: Consumer = worker.user
        self.pushed = start.task
        self.task = start.task.task
        self.attempt = start.task.attempt
        self.creates = start.call is not None and start.call.method == "__init__"
        self.blocks = self.task if start.call is not None and not self.creates else NO_STREAM
        said = start.arguments
        self.ops: Ops = json.loads(said.data if isinstance(said, Parcel) else said)  # type: ignore[arg-type]  # inline here
        self.at = 0
        self.yielded = 0
        self.yielded_of_op = 0
        self.has_asked = False
        #: Items that it asked for where to go on, and has still to pass over.
        self.skips = 0
        self.held = False
        self.waits_for_release = False
        self.gave_way = False
        self.children: list[tuple[TaskId, Plan]] = []
        self.submitted = 0
        self.refs: list[ObjectId] = []
        self.owner = start.owner
        self.account = worker.cluster.accounts[self.task]
        #: Views of arguments in shared memory.
        self.views = [
            self.user.store.opened(slot) for slot in start.slots if isinstance(slot, Stored)
        ]
        #: How it ends for being cancelled, once it sees that; None before.
        self.stops: tuple[int, tuple[Value, ...]] | None = None
        self.rests = 0
        self.is_resting = False
        #: Whether it does otherwise than the first time, and whether it yields small items now.
        self.differs = self.shrinks = False
        self.returned_bytes = -1
        #: What a two-way body is given, and whether it has taken something since its last item.
        self.given: deque[GiveInput] = deque()
        self.has_turn = False
        self.is_hopeless = any(isinstance(slot, Fault) for slot in start.slots)

    def prepare(self, ahead: list[HoldBody | GiveInput]) -> None:
        """This was said of it before it started."""
        self.held = any(type(each) is HoldBody for each in ahead)
        self.given.extend([each for each in ahead if type(each) is GiveInput])

    def begin(self) -> None:
        delay_ns = self.worker.cluster.world.random.randrange(START_NS_MAX)
        self.user.later(delay_ns, self.go_on)

    def release(self) -> None:
        self.held = False
        if self.waits_for_release:
            self.waits_for_release = False
            self.user.later(0, self._take_back)

    def _give_way(self) -> None:
        """Held for long: give the CPU away, once."""
        runs = self.worker.bodies.get(self.task) is self
        if self.waits_for_release and not self.gave_way and runs:
            self.gave_way = True
            self.user.post(BodyBlocked(True, self.blocks))

    def _take_back(self) -> None:
        if self.gave_way and self.worker.bodies.get(self.task) is self:
            self.gave_way = False
            self.user.post(BodyBlocked(False, self.blocks))
        self.go_on()

    def interrupt(self) -> None:
        """It was cancelled: end soon for that, with an error of its own perhaps, or go on."""
        dice = self.worker.cluster.dice.random()
        self.account.interrupts.append(self.attempt)
        if dice < 0.2:
            return
        own = (error_value(self.task, INTERRUPTED),)
        if dice < 0.7:
            self.stops = OUTCOME_CANCELLED, ()
        else:
            self.stops = OUTCOME_RETRY if dice < 0.8 else OUTCOME_ERROR, own
        if self.waits_for_release:
            self.waits_for_release = False
            self.user.later(0, self._take_back)
        elif self.is_resting:
            self.user.later(0, partial(self._wake, self.rests))

    def abandon(self) -> None:
        """Its caller is dead, or stops it: end instead of going on after its item."""
        self.account.is_stopped = True
        self.stops = OUTCOME_CANCELLED, ()
        if self.waits_for_release:
            self.waits_for_release = False
            self.user.later(0, self._take_back)

    def _rest(self, for_ns: int) -> None:
        self.is_resting = True
        self.user.later(for_ns, partial(self._wake, self.rests))

    def _wake(self, rest: int) -> None:
        if rest == self.rests:
            self.rests += 1
            self.is_resting = False
            self.go_on()

    def go_on(self) -> None:
        """Run until something takes time."""
        if self.stops is not None and self.worker.bodies.get(self.task) is self:
            self.end(*self.stops)
            return
        if self.is_hopeless:
            self.excuse()
            return
        while self.worker.bodies.get(self.task) is self:
            if self.held:
                self.waits_for_release = True
                self.user.later(REGION_SOON_NS, self._give_way)
                return
            if self.pushed.window < 0 and not self._has_turn():
                return
            if self.at == len(self.ops):
                self.write_results([])
                return
            op = self.ops[self.at]
            wait = getattr(self, f"_do_{op[0]}")(*op[1:])
            if wait is None:
                continue
            if wait:
                wait_ns, act = wait
                if act is not None:
                    act()
                elif wait_ns >= 0:
                    self._rest(wait_ns)
            return

    def _has_turn(self) -> bool:
        """Take what it is given, once for each item; end if it was let go without that."""
        if not self.has_turn:
            self.has_turn = self.worker.cluster.promises.dialogues.goes_on(self)
            if not self.has_turn:
                self.end(OUTCOME_CANCELLED)
        return self.has_turn

    def write_results(self, values: list[Value]) -> None:
        """Write the results from that one on, and end."""
        index, returns = len(values), self.pushed.returns_count
        if returns == STREAMING and not values and self.returned_bytes >= 0:
            value = result_value(self.task, 0, self.attempt, self.returned_bytes)
            if self.pushed.wanted and COMPLETION_INDEX not in self.pushed.wanted:
                self.end(OUTCOME_VALUE)
                return
        elif returns == STREAMING or index == returns:
            self.end(OUTCOME_VALUE, tuple(values))
            return
        else:
            value = result_value(self.task, index, self.attempt, self.account.plan.result_bytes)
        if self.creates:
            self.end(OUTCOME_VALUE, (NONE,))
            return
        if self.pushed.wanted and index not in self.pushed.wanted:
            value = NONE
        if not isinstance(value, Stored):
            self.write_results([*values, value])
            return

        def written(stored: Stored | None) -> None:
            if stored is None:
                self.user.store.unused([each for each in values if isinstance(each, Stored)])
                self.excuse()
            else:
                self.write_results([*values, stored])

        self.user.store.write(self.account.owner, self.owner, NO_STREAM, value, written)

    def excuse(self) -> None:
        """End with an error that the world knows the cause of."""
        self.account.excuses.append(self.attempt)
        self.end(OUTCOME_ERROR, (error_value(self.task, NO_ROOM),))

    def end(self, outcome: int, values: tuple[Value, ...] = ()) -> None:
        task = self.task
        if outcome in RAISED and not values:
            values = (error_value(task),)
        if self.refs or self.children:
            streams = tuple(child for child, plan in self.children if plan.returns == STREAMING)
            self.user.drop(self.refs, tuple(s for s in streams if s in self.user.handles))
        del self.worker.bodies[task]
        self.account.ends.append(self.attempt)
        if self.differs:
            self.account.differed[self.attempt] = self.worker.name
        self.user.store.reported(values)
        self.drop_views()
        self.user.post(TaskEnded(task, self.attempt, outcome, values))

    def drop_views(self) -> None:
        """Let go of the arguments, or keep some of them beyond the end of the task."""
        random = self.worker.cluster.world.random
        if self.views and random.random() < 0.3:
            self.user.later(
                random.randrange(KEPT_NS_MAX), partial(self.user.store.close, self.views)
            )
        else:
            self.user.store.close(self.views)

    # -- ops: None goes on at once, (delay, None) after a while, (-1, act) when act says so
    # ----------
    def _do_yield(self, count: int, delay_ns: int, size: int) -> Any:
        if self.pushed.per_yield > 1:
            return yield_together(self, count, delay_ns, size)
        if self.skips:
            passed = min(self.skips, count - self.yielded_of_op)
            self.yielded_of_op += passed
            self.skips -= passed
        if self.yielded_of_op == count:
            self.yielded_of_op = 0
            self.at += 1
            return None
        self.worker.cluster.promises.actors.goes_on(self.worker, self.account)
        value = item_value(self.task, self.yielded, self.attempt, size)
        if isinstance(value, Stored) and self.pushed.window_bytes and not self.has_asked:
            self.has_asked = True
            self.user.post(AskRoom(self.task, self.attempt, whole_bytes(value)))
            return None
        self.has_asked = False
        if self.pushed.wanted and ITEM_INDEX_FIRST + self.yielded not in self.pushed.wanted:
            value = NONE
        elif self.shrinks and isinstance(value, Stored):
            self.differs, value = True, value.data
        self.yielded += 1
        self.yielded_of_op += 1
        self.has_turn = False
        if isinstance(value, Stored):
            return -1, partial(self._yield_stored, value, delay_ns)
        self.user.post(Yielded(self.task, self.attempt, value))
        return self.after_yield(delay_ns)

    def after_yield(self, delay_ns: int) -> Any:
        if delay_ns:
            jitter = self.worker.cluster.world.random.randrange(delay_ns)
            return delay_ns // 2 + jitter, None
        return None

    def _yield_stored(self, template: Stored, delay_ns: int) -> None:
        def written(value: Stored | None) -> None:
            if value is None:
                self.excuse()
                return
            self.user.store.reported((value,))
            self.user.post(Yielded(self.task, self.attempt, value))
            wait = self.after_yield(delay_ns)
            self.user.later(wait[0] if wait else 0, self.go_on)

        self.user.store.write(self.account.owner, self.owner, self.task, template, written)

    def _do_waste(self, size: int) -> Any:
        """Ask for room and write nothing into it, as a value that cannot be serialised does."""
        self.at += 1
        template = item_value(self.task, 999, self.attempt, size)
        assert isinstance(template, Stored)

        def written(value: Stored | None) -> None:
            if value is not None:
                self.user.store.unused([value])
            self.go_on()

        return -1, lambda: self.user.store.write(
            self.account.owner, self.owner, self.task, template, written
        )

    def _do_sleep(self, for_ns: int) -> Any:
        self.at += 1
        return for_ns, None

    def _do_resume(self) -> Any:
        """Ask where to go on."""
        self.at += 1
        self.user.post(AskPosition(self.task, self.attempt))
        return None

    def go_on_at(self, position: int) -> None:
        """That is the answer."""
        self.worker.cluster.promises.windows.resumed(
            self.account, self.task, self.attempt, position
        )
        self.yielded = self.skips = position * self.pushed.per_yield

    def _do_return(self, size: int) -> Any:
        self.at += 1
        self.returned_bytes = size
        return None

    def _do_raise(self, attempts: int) -> Any:
        self.at += 1
        if attempts < 0:
            return -1, lambda: self.end(OUTCOME_ERROR)
        if self.attempt < attempts:
            return -1, lambda: self.end(OUTCOME_RETRY)
        return None

    def _do_differ(self, how: str) -> Any:
        self.at += 1
        if not self.pushed.wanted:
            return None
        if how == "small":
            self.shrinks = True
            return None
        self.differs = True
        if how == "more":
            self.yielded += 1
            self.user.post(Yielded(self.task, self.attempt, NONE))
            return None
        return -1, lambda: self.end(OUTCOME_ERROR if how == "raise" else OUTCOME_VALUE)

    def _do_die(self, attempts: int) -> Any:
        self.at += 1
        if self.attempt < attempts:
            return -1, lambda: self.worker.cluster.world.crash(self.worker.life, "its body says so")
        return None

    def _do_spawn(self, plan: list[Any]) -> Any:
        self.at += 1
        child = Plan(*plan)
        name = self.user.submit(child, (self.task, self.attempt), self.submitted)
        self.submitted += 1
        self.children.append((name, child))
        if child.returns != STREAMING:
            self.refs.extend(object_id(name, index) for index in range(child.returns))
        return None

    def _do_call(self, actor: str, plan: list[Any]) -> Any:
        """Call an actor that somebody else holds a handle of."""
        self.at += 1
        child = Plan(*plan)
        parent = (self.task, self.attempt)
        name = self.user.call(ActorId(bytes.fromhex(actor)), child, parent, self.submitted)
        self.submitted += 1
        self.children.append((name, child))
        if child.returns != STREAMING:
            self.refs.extend(object_id(name, index) for index in range(child.returns))
        return None

    def _do_kill(self, actor: str, no_restart: bool) -> Any:
        self.at += 1
        self.user.kill(ActorId(bytes.fromhex(actor)), no_restart)
        return None

    def _do_exit(self) -> Any:
        """The actor ends itself."""
        return -1, self._exit

    def _exit(self) -> None:
        assert self.worker.actor is not None
        self.worker.cluster.actors[self.worker.actor].exits += 1
        self.worker.bodies.clear()
        self.user.post(ExitActor())
        self.worker.leave("it ended itself")

    def _do_gather(self) -> Any:
        """Wait for every child: each result, and each item of a stream."""
        self.at += 1
        waits: list[Wait] = []
        for name, plan in self.children:
            if plan.returns == STREAMING:
                waits.append(partial(self._drain, name))
            else:
                results = (object_id(name, index) for index in range(plan.returns))
                waits.extend(partial(self._await, result) for result in results)
        return -1, lambda: self._wait(waits)

    def _wait(self, waits: list[Wait]) -> None:
        self.user.post(BodyBlocked(True, self.blocks))

        def one() -> None:
            if waits and self.stops is None:
                waits.pop(0)(one)
            else:
                self.user.post(BodyBlocked(False, self.blocks))
                self.user.later(0, self.go_on)

        one()

    def _await(self, result: ObjectId, then: Callable[[], None]) -> None:
        def got(value: Value) -> None:
            self.worker.cluster.promises.got(self.user, result, value)
            self.user.store.read([result], 0, then)

        self.user.get(result, got)

    def _drain(self, stream: TaskId, then: Callable[[], None]) -> None:
        def took(names: list[ObjectId], ended: bool) -> None:
            self.worker.cluster.promises.took(self.user, stream, names, ended)
            self.user.store.read(names, 0, partial(done, names, ended))

        def done(names: list[ObjectId], ended: bool) -> None:
            self.user.drop(names)
            if ended:
                then()
            else:
                self.user.next(stream, 8, took)

        self.user.next(stream, 8, took)
