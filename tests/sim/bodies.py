"""Bodies of simulated tasks: scripts that run in virtual time in a worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.sim.programs import Consumer, Ops, Plan, item_value, result_value
from zgen.core.effects import StartTask
from zgen.core.events import BodyBlocked, TaskEnded, Yielded
from zgen.ids import ObjectId, TaskId, object_id
from zgen.wire.task import OUTCOME_ERROR, OUTCOME_RETRY, OUTCOME_VALUE, STREAMING
from zgen.wire.value import Parcel, Value

if TYPE_CHECKING:
    from tests.sim.cluster import Worker

#: A body that has its mark may still wait this long before its first line, as in a real worker.
START_NS_MAX = 100_000


#: Waits for something, then does what it is given.
Wait = Callable[[Callable[[], None]], None]


def error_value(task: TaskId) -> Parcel:
    return Parcel(b"raised" + task[:4], (), True)


class Body:
    """One execution of a task."""

    def __init__(self, worker: Worker, start: StartTask) -> None:
        self.worker = worker
        self.user: Consumer = worker.user
        self.pushed = start.task
        self.task = start.task.task
        self.attempt = start.task.attempt
        self.ops: Ops = json.loads(bytes(start.arguments))  # type: ignore[arg-type]  # plain bytes here
        self.at = 0
        self.yielded = 0
        self.yielded_of_op = 0
        self.held = False
        self.waits_for_release = False
        self.children: list[tuple[TaskId, Plan]] = []
        self.submitted = 0
        self.refs: list[ObjectId] = []

    def begin(self) -> None:
        delay_ns = self.worker.cluster.world.random.randrange(START_NS_MAX)
        self.user.later(delay_ns, self.go_on)

    def release(self) -> None:
        self.held = False
        if self.waits_for_release:
            self.waits_for_release = False
            self.user.later(0, self.go_on)

    def go_on(self) -> None:
        """Run until something takes time."""
        while self.worker.body is self:
            if self.held:
                self.waits_for_release = True
                return
            if self.at == len(self.ops):
                self.end(OUTCOME_VALUE)
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
                    self.user.later(wait_ns, self.go_on)
            return

    def end(self, outcome: int) -> None:
        task, returns = self.task, self.pushed.returns_count
        values: tuple[Value, ...] = ()
        if outcome != OUTCOME_VALUE:
            values = (error_value(task),)
        elif returns != STREAMING:
            values = tuple(result_value(task, index, self.attempt) for index in range(returns))
        if self.refs or self.children:
            streams = tuple(child for child, plan in self.children if plan.returns == STREAMING)
            self.user.drop(self.refs, tuple(s for s in streams if s in self.user.handles))
        self.worker.body = None
        self.worker.cluster.accounts[task].ends.append(self.attempt)
        self.user.post(TaskEnded(task, self.attempt, outcome, values))

    # -- ops: None goes on at once, (delay, None) after a while, (-1, act) when act says so
    # ----------
    def _do_yield(self, count: int, delay_ns: int, size: int) -> Any:
        if self.yielded_of_op == count:
            self.yielded_of_op = 0
            self.at += 1
            return None
        value = item_value(self.task, self.yielded, self.attempt, size)
        self.yielded += 1
        self.yielded_of_op += 1
        self.user.post(Yielded(self.task, self.attempt, value))
        if delay_ns:
            jitter = self.worker.cluster.world.random.randrange(delay_ns)
            return delay_ns // 2 + jitter, None
        return None

    def _do_sleep(self, for_ns: int) -> Any:
        self.at += 1
        return for_ns, None

    def _do_raise(self, attempts: int) -> Any:
        self.at += 1
        if attempts < 0:
            return -1, lambda: self.end(OUTCOME_ERROR)
        if self.attempt < attempts:
            return -1, lambda: self.end(OUTCOME_RETRY)
        return None

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
        self.user.post(BodyBlocked(True))

        def one() -> None:
            if waits:
                waits.pop(0)(one)
            else:
                self.user.post(BodyBlocked(False))
                self.user.later(0, self.go_on)

        one()

    def _await(self, result: ObjectId, then: Callable[[], None]) -> None:
        def got(value: Value) -> None:
            self.worker.cluster.promises.got(self.user, result, value)
            then()

        self.user.get(result, got)

    def _drain(self, stream: TaskId, then: Callable[[], None]) -> None:
        def took(names: list[ObjectId], ended: bool) -> None:
            self.worker.cluster.promises.took(self.user, stream, names, ended)
            self.user.drop(names)
            if ended:
                then()
            else:
                self.user.next(stream, 8, took)

        self.user.next(stream, 8, took)
