"""Two-way streams: values and exceptions are sent, workers die, and what was sent is sent again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from tests.sim.actor_run import ActorProgram, ActorRun, draw_settings
from tests.sim.programs import Plan
from tests.sim.rebuild_run import LARGE_BYTES
from tests.sim.run import Outcome, run_seed
from tests.sim.workloads import draw_cpus
from zgen.core import dialogue
from zgen.ids import PUT_INDEX_FIRST, ActorId, ObjectId, TaskId, handle_object, object_id
from zgen.limits import INPUT_LOG_BYTES_MAX, MS, US
from zgen.sim.trace import Trace
from zgen.wire.task import LOCK_STEP, STREAMING
from zgen.wire.value import NONE, NestedRef, Parcel, Value


class Dialogues(ActorProgram):
    """A user who speaks with generators of tasks and actors."""

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        return (self._with_task, self._with_task, self._with_task, self._with_actor, self._task)

    def _draw(self) -> Plan:
        random = self.random
        ops: list[list[object]] = []
        size = random.choice((0, 0, 10, 300, LARGE_BYTES))
        for _ in range(random.choice((0, 1, 2, 3))):
            delay_ns = random.choice((0, 50 * US, 1 * MS))
            ops.append(["yield", random.choice((1, 2, 5, 12)), delay_ns, size])
            if random.random() < 0.4:
                ops.append([random.choice(("die", "die", "raise")), random.choice((1, 2))])
        if random.random() < 0.2:
            ops.append(["return", 10])
        if random.random() < 0.1:
            ops.append(["raise", -1])
        retries = random.choice((0, 1, 3, 3, -1))
        return Plan(ops, STREAMING, retries, draw_cpus(random), window=LOCK_STEP)

    def _with_task(self, number: str) -> None:
        self._speak(number, self.submit(self._draw(), self.slots()))

    def _with_actor(self, number: str) -> None:
        actor = ActorId(self._next())
        settings = draw_settings(self.random, "")
        self.user.create(settings, Plan([], 1, settings.max_restarts, 0), actor)
        plan = self._draw()
        plan.cpus = 0
        call = self.user.call(actor, plan, self.parent, self.submitted)
        self.submitted += 1

        def over() -> None:
            self.user.drop([handle_object(actor)])

        self._speak(number, call, over)

    def _speak(self, number: str, stream: TaskId, over: Callable[[], None] = lambda: None) -> None:
        """Send, wait for the answer, and so on to the end, or until interest is lost."""
        random, promises = self.random, self.cluster.promises
        self.active[number] = f"dialogue {self.cluster.world.trace.show(stream)}"
        give_up = random.choice((None, None, None, 0, 1, 3, 8))
        how = random.choice(("drop", "close", "cancel"))
        hasty = random.random() < 0.15
        pause_ns = random.choice((0, 0, 300 * US, 4 * MS))
        count = 0

        def ask() -> None:
            if count == give_up:
                leave()
                return
            value, mine = self._value(count)
            self.user.send(stream, value, raises=random.random() < 0.2)
            if mine:
                self.user.drop(mine)
            if hasty and random.random() < 0.3:  # a program with threads, or one interrupted
                self.user.send(stream, NONE, raises=False)
            self.user.next(stream, 1, took)

        def took(names: list[ObjectId], ended: bool) -> None:
            nonlocal count
            promises.took(self.user, stream, names, ended)
            count += len(names)
            self.user.drop(names, (stream,) if ended else ())
            if ended:
                over()
                self.done(number)
                return
            promises.dialogues.answered(stream, count)
            self.user.later(pause_ns and random.randrange(pause_ns), ask)

        def leave() -> None:
            if how == "close":
                self.user.close(stream)
            elif how == "cancel":
                self.user.cancel(stream, force=False, recursive=False)
            self.user.drop([], (stream,))
            over()
            self.done(number)

        self.user.later(random.choice((0, 0, 5 * MS)), ask)

    def _value(self, count: int) -> tuple[Value, list[ObjectId]]:
        """Return something to send, and references that its user holds no longer then."""
        how = self.random.random()
        said = b"said %d" % self.random.randrange(1000)
        if how < 0.6 or not count:
            return said if count else NONE, []
        if how < 0.75:
            return Parcel(said, (b"buffer",)), []
        self.puts += 1
        put = object_id(self.parent[0], PUT_INDEX_FIRST + self.puts)
        self.user.put(put, b"put" + said)
        owner = self.user.life.address
        return Parcel(said, (), False, (NestedRef(put, owner),)), [put]


class DialogueRun(ActorRun):
    """A cluster whose drivers speak with what they run; in some seeds little is kept of that."""

    program_class = Dialogues

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        super().__init__(seed, trace)
        dice = Random(f"dialogue {seed}")
        self.windows = self.gathers = None
        self.large = 0
        self.cluster.cancels = dice.choice((0.0, 0.0, 0.0, 0.1))
        self.cluster.promises.dialogues.log_bytes = dice.choice((None, None, None, 400, 1500))

    def run(self) -> None:
        kept = self.cluster.promises.dialogues.log_bytes
        vars(dialogue)["INPUT_LOG_BYTES_MAX"] = INPUT_LOG_BYTES_MAX if kept is None else kept
        try:
            super().run()
        finally:
            vars(dialogue)["INPUT_LOG_BYTES_MAX"] = INPUT_LOG_BYTES_MAX

    @property
    def counts(self) -> Mapping[str, int]:
        kept = self.cluster.promises.dialogues
        return {"inputs": kept.inputs, "inputs again": kept.again, "logs lost": kept.lost}


def run_dialogue(seed: int, trace: Trace | None = None) -> Outcome:
    """Run one seed of this scenario."""
    return run_seed(seed, trace, DialogueRun)
