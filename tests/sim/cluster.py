"""A simulated cluster: one node, its drivers, and the workers that it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from random import Random

from tests.sim.bodies import Body
from tests.sim.memory import Disk, Memory
from tests.sim.oracles import Promises
from tests.sim.programs import Account, ActorStory, Consumer
from zgen.core.actor_effects import ActorOver
from zgen.core.cancel_words import AbandonBody, InterruptBody, KillSelf, StopBody
from zgen.core.effects import Effect, HoldBody, JobReady, NodeLost, ReleaseBody, StartTask
from zgen.core.events import (
    Join,
    Leave,
    ProcessExited,
    RegisterDriver,
    WorkerExited,
    WorkerSpawned,
)
from zgen.core.identity import Identity
from zgen.core.node_effects import KillWorker, SpawnWorker, WatchProcess
from zgen.core.process import ProcessMachine
from zgen.core.stream_words import GiveInput, PositionIs
from zgen.ids import ActorId, JobId, LeaseId, ObjectId, PeerId, TaskId
from zgen.limits import MS, US
from zgen.sim.trace import Trace
from zgen.sim.world import Life, World, sim_address
from zgen.wire.lease import Shape
from zgen.wire.session import Address
from zgen.wire.task import CancelTask
from zgen.wire.value import Value
from zgen_node.core.node import NodeMachine

PYTHON = "3.11"
RELEASE = "0"
NO_LEASE = LeaseId(bytes(16))
SIGKILL = 9


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process as the world sees it.

    Attributes:
        cluster: Where it runs.
        node: The life of the node that wanted it.
        name: The name that the node gave it.
        pid: Its process id.
        life: Its life; set right after it begins.
        bodies: What it runs, by task.
        actor: The actor that lives there, from the moment when its creation begins.
        is_leaving: Whether it is about to say goodbye.
        lease: Lease of its started mark.
        started: Count of its started mark.
        killed: Whether a signal ends it.
    """

    cluster: Cluster
    node: Life
    name: PeerId
    pid: int
    life: Life = field(init=False)
    user: Consumer = field(init=False)
    bodies: dict[TaskId, Body] = field(default_factory=dict)
    actor: ActorId | None = None
    is_leaving: bool = False
    lease: LeaseId = NO_LEASE
    started: int = 0
    #: What was said of a body before it started.
    ahead: dict[TaskId, list[HoldBody | GiveInput]] = field(default_factory=dict)

    @property
    def body(self) -> Body | None:
        """One of those that run, or None."""
        return next(iter(self.bodies.values()), None)

    def leave(self, reason: str) -> None:
        """End the process in peace."""
        self.is_leaving = True
        self.user.later(0, lambda: self.user.post(Leave(reason)))


@dataclass(slots=True)
class Settings:
    """What a cluster is made of.

    Attributes:
        cpus: Ten-thousandths of a CPU of the node.
        drivers: How many.
        prestart: Whether jobs get workers before they ask.
        spawn_ns_max: The longest that a fork takes, and then the worker's start.
        spawn_failure: Chance that a worker dies before it is ready.
        exit_ns_max: The longest that the news of a death takes.
        kill_ns_max: The longest that a worker lives that its node kills.
        store_bytes: Shared memory of the node.
        disk: How bad its disk is.
        write_ns_max: The longest that writing into memory takes.
        memory_ppm: Part of a node's memory that may be in use, in millionths; 0 for any.
    """

    cpus: int = 20_000
    drivers: int = 1
    prestart: bool = True
    spawn_ns_max: int = 3 * MS
    spawn_failure: float = 0.0
    exit_ns_max: int = 2 * MS
    kill_ns_max: int = 1 * MS
    store_bytes: int = 1 << 30
    disk: Disk = field(default_factory=Disk)
    write_ns_max: int = 400 * US
    memory_ppm: int = 0


class Cluster:
    """Everything that lives in one simulated run.

    Attributes:
        accounts: What the world knows of each submitted task.
        puts: Values that users put.
        actors: What the world knows of each actor.
        memory: Shared memory and disk of the node; of the dead one until the next begins.
        counts: What happened there, by name.
        promises: Who checks what users and the world see.
        node_deaths: How often the node died.
        lost_count: Nodes whose processes may have run on while others held them for dead, or begun
            what nobody can know of.
        spawn_failures: Workers that died before they ran anything; the node may call that a failed
            start.
        memory_deaths: Workers that their node ended because memory ran out.
        worker_deaths: When each worker died that did not say goodbye.
        begin_program: Called with the consumer of each driver whose job is ready.
        cancels: Chance that a task is cancelled some time after it was submitted.
        dice: What cancels are drawn from; others, so that a run without them is what it was.
        differing: Dice of streams that do otherwise when they run again for lost items; or None.
        make_body: Makes what a worker runs of a task that it starts.
    """

    def __init__(self, seed: int, settings: Settings, trace: Trace | None = None) -> None:
        self.world = World(seed, trace)
        self.settings = settings
        self.accounts: dict[TaskId, Account] = {}
        self.puts: dict[ObjectId, Value] = {}
        self.actors: dict[ActorId, ActorStory] = {}
        self.promises = Promises(self)
        self.world.oracles.append(self.promises)
        self.world.mourners.append(self._on_death)
        self.node: Life | None = None
        self.memory: Memory
        self.counts: dict[str, int] = {}
        self.node_deaths = 0
        self.lost_count = 0
        self.differing: Random | None = None
        self.spawn_failures = 0
        self.memory_deaths = 0
        self.worker_deaths: dict[PeerId, int] = {}
        self.workers: dict[int, Worker] = {}
        self.drivers: dict[int, Consumer] = {}
        #: Number of a life -> the user of that driver or worker.
        self.users: dict[int, Consumer] = {}
        self.begin_program: Callable[[Consumer], None] = lambda user: None
        self.cancels = 0.0
        self.dice = Random(f"cancels of {seed}")
        self.make_body: Callable[[Worker, StartTask], Body] = Body
        self._watched: dict[tuple[PeerId, int], list[tuple[Life, WatchProcess]]] = {}
        self._incarnations: dict[str, int] = {}
        self._pids = 100

    # -- processes ---------------------------------------------------------------------------------
    def begin(self) -> None:
        """Start a node and its drivers."""
        self.node = self.begin_node("node", (("CPU", self.settings.cpus),))
        settings = self.settings
        self.memory = Memory(
            self.world, self.node, settings.store_bytes, settings.disk, self.counts
        )
        self.promises.regions.begin()
        for number in range(self.settings.drivers):
            self.begin_driver(f"driver{number + 1}")

    def begin_node(self, name: str, total: Shape, labels: tuple[tuple[str, str], ...] = ()) -> Life:
        """Start a node."""
        address = self._next_life(name)
        address = sim_address(name, address.incarnation, address.peer)
        identity, settings = Identity(address, PYTHON, RELEASE), self.settings
        more = (settings.prestart, settings.store_bytes, labels, settings.memory_ppm)
        machine = NodeMachine(identity, total, *more)
        return self.world.start(name, address, machine, self._perform_node)

    def begin_driver(self, name: str) -> None:
        """Start a driver of the node."""
        if self.node is not None and not self.node.dead:
            self.begin_driver_of(self.node, name)

    def begin_driver_of(self, node: Life, name: str) -> None:
        """Start a driver of a node that lives."""
        address = self._next_life(name)
        address = sim_address(name, address.incarnation, node.address.peer)
        machine = ProcessMachine(Identity(address, PYTHON, RELEASE), executes=False)
        life = self.world.start(name, address, machine, self._perform_driver)
        self.driver_begun(life, node)
        self.drivers[life.number] = self.users[life.number] = user = Consumer(self, life)
        pid = self._next_pid()
        user.post(Join(node.address, self.job_of(life), pid))
        user.post(RegisterDriver(pid, (), "/", ()))

    def driver_begun(self, life: Life, node: Life) -> None:
        """Note whose driver a process is."""

    def job_of(self, life: Life) -> JobId:
        return JobId(self._hash(b"job", life))

    def root_task_of(self, life: Life) -> TaskId:
        return TaskId(self._hash(b"root", life))

    def memory_of(self, life: Life) -> Memory:
        """Return the shared memory that a process uses."""
        return self.memory

    def living_workers(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if not worker.life.dead]

    def user_of(self, life: Life) -> Consumer | None:
        """Return the user of a process; None if it is the node."""
        return self.users.get(life.number)

    def is_gone(self, place: str) -> bool:
        """Return whether a task can run nowhere, since it may run on a dead node alone."""
        return False

    def placed(self, worker: Worker, place: str) -> None:
        """Check that a task that starts may run where it does."""

    def drivers_of(self, node: Life) -> list[Consumer]:
        """Return the drivers of a node, dead ones too."""
        return list(self.drivers.values())

    def leave_all(self) -> None:
        """Every driver ends cleanly."""
        for user in self.drivers.values():
            if not user.life.dead:
                user.post(Leave("done"))

    # -- effects -----------------------------------------------------------------------------------
    def _perform_node(self, life: Life, effect: Effect) -> None:
        random = self.world.random
        if isinstance(effect, SpawnWorker):
            delay_ns = random.randrange(100 * US, self.settings.spawn_ns_max)
            self.world.at(delay_ns, self._fork, (life, effect))
        elif isinstance(effect, KillWorker):
            self.world.at(random.randrange(self.settings.kill_ns_max), self._kill, (life, effect))
        elif isinstance(effect, WatchProcess):
            watched = self._living(effect.peer, effect.incarnation)
            if watched is None:
                exited = ProcessExited(effect.peer, effect.incarnation, "was dead")
                self.world.post_later(life, exited)
            else:
                key = (effect.peer, effect.incarnation)
                self._watched.setdefault(key, []).append((life, effect))
        else:
            self.memory_of(life).perform(effect)

    def _perform_driver(self, life: Life, effect: Effect) -> None:
        user = self.drivers[life.number]
        if isinstance(effect, JobReady):
            user.joined = True
            user.later(0, lambda: self.begin_program(user))
        elif isinstance(effect, NodeLost):
            self.promises.node_lost(user)
            user.node_lost()
        else:
            user.perform(effect)

    def _perform_worker(self, life: Life, effect: Effect) -> None:
        worker = self.workers[life.number]
        if isinstance(effect, StartTask):
            call = effect.call
            if call is None or call.method == "__init__":
                assert not worker.bodies, "two bodies at a time"
                if worker.lease != effect.lease:
                    worker.lease, worker.started = effect.lease, 0
                worker.started = effect.push + 1
            if call is not None:
                worker.actor = call.actor
            self.promises.started(worker, effect)
            body = worker.bodies[effect.task.task] = self.make_body(worker, effect)
            body.prepare(worker.ahead.pop(effect.task.task, []))
            body.begin()
            if not body.creates:
                self.cancel_running_perhaps(effect.task.task, 4 * MS)
        elif isinstance(effect, HoldBody):
            if effect.task in worker.bodies:
                worker.bodies[effect.task].held = True
            else:
                worker.ahead.setdefault(effect.task, []).append(effect)
        elif isinstance(effect, GiveInput):
            if effect.task in worker.bodies:
                worker.bodies[effect.task].given.append(effect)
            else:
                worker.ahead.setdefault(effect.task, []).append(effect)
        elif isinstance(effect, ReleaseBody):
            if effect.task in worker.bodies:
                worker.bodies[effect.task].release()
        elif isinstance(effect, ActorOver):
            assert not worker.bodies, "an actor is over that runs"
            worker.leave("actor over")
        elif isinstance(effect, InterruptBody):
            self.promises.cancels.interrupted(worker, effect)
            if effect.task in worker.bodies:
                worker.bodies[effect.task].interrupt()
        elif isinstance(effect, (AbandonBody, StopBody)):
            if effect.task in worker.bodies:
                worker.bodies[effect.task].abandon()
        elif isinstance(effect, PositionIs):
            worker.bodies[effect.task].go_on_at(effect.index)
        elif isinstance(effect, KillSelf):
            self.world.at(0, self.world.crash, (life, "cancelled by force"))
        else:
            worker.user.perform(effect)

    # -- workers -----------------------------------------------------------------------------------
    def _fork(self, node: Life, effect: SpawnWorker) -> None:
        if node.dead:
            return
        random, pid = self.world.random, self._next_pid()
        name = f"worker{len(self.workers) + 1}"
        address = Address(effect.worker, 1, f"sim://{name}", node.address.peer)
        machine = ProcessMachine(Identity(address, PYTHON, RELEASE), executes=True)
        worker = Worker(self, node, effect.worker, pid)
        self.worker_deaths.pop(effect.worker, None)  # of the same name under an earlier node
        worker.life = life = self.world.start(name, address, machine, self._perform_worker)
        worker.user = self.users[life.number] = Consumer(self, life)
        self._overhear_cancels(worker, machine)
        self.workers[life.number] = worker
        self.world.post(node, WorkerSpawned(effect.worker, pid))
        start_ns = random.randrange(100 * US, self.settings.spawn_ns_max)
        if random.random() < self.settings.spawn_failure:
            self.world.at(start_ns, self.world.crash, (life, "cannot start"))
        else:
            self.world.post_later(life, Join(node.address, effect.job, pid), start_ns)

    def _overhear_cancels(self, worker: Worker, machine: ProcessMachine) -> None:
        """Tell the oracle what the worker is told of tasks that it does not run by then."""
        act, executor = machine._routes[CancelTask], machine.executor
        assert executor is not None

        def heard(sender: PeerId, message: CancelTask, now_ns: int, out: list[Effect]) -> None:
            queue = executor.admission if executor.calls is None else executor.calls
            if queue.running_as(sender, message.task, message.attempt) is None:
                self.promises.cancels.told(worker, message)
            act(sender, message, now_ns, out)

        machine._routes[CancelTask] = heard

    def _kill(self, node: Life, effect: KillWorker) -> None:
        for worker in self.living_workers():
            if worker.node is node and worker.name == effect.worker:
                self.world.end(worker.life, "killed by its node")
                return
        if not any(w.node is node and w.name == effect.worker for w in self.workers.values()):
            self.world.at(1 * MS, self._kill, (node, effect))  # it is being forked

    # -- deaths ------------------------------------------------------------------------------------
    def _on_death(self, life: Life, reason: str) -> None:
        random = self.world.random
        delay_ns = random.randrange(self.settings.exit_ns_max)
        address = life.address
        self.memory_of(life).forget(life)
        for watcher, _ in self._watched.pop((address.peer, address.incarnation), ()):
            exited = ProcessExited(address.peer, address.incarnation, reason)
            self.world.post_later(watcher, exited, delay_ns)
        if isinstance(life.machine, NodeMachine):
            self.node_deaths += 1
            for worker in self.living_workers():
                if worker.node is life:
                    delay_ns = random.randrange(20 * MS)
                    self.world.at(delay_ns, self.world.end, (worker.life, "its node died"))
            for user in self.drivers_of(life):
                exited = ProcessExited(address.peer, address.incarnation, reason)
                self.world.post_later(user.life, exited, random.randrange(50 * MS))
        worker_or_none = self.workers.get(life.number)
        if worker_or_none is not None:
            worker = worker_or_none
            if worker.actor is not None:
                self.actors[worker.actor].deaths += 1
            else:
                for task in worker.bodies:
                    self.cancel_running_perhaps(task, 120 * MS)
            worker.bodies.clear()
            self.spawn_failures += not worker.started
            clean = reason == "left" or reason.startswith("exit")
            if not (clean or worker.is_leaving):
                self.worker_deaths[worker.name] = self.world.now_ns
            code, signal = (0, 0) if clean else (-1, SIGKILL)
            exit_of = WorkerExited(
                worker.name, worker.pid, code, signal, "last words", worker.lease, worker.started
            )
            self.world.post_later(worker.node, exit_of, delay_ns)

    # -- inside ------------------------------------------------------------------------------------
    def begin_account(self, task: TaskId, account: Account) -> None:
        assert task not in self.accounts, "one task id for two tasks"
        self.accounts[task] = account
        self.world.trace.names[task] = f"task-{len(self.accounts)}"

    def cancel_perhaps(self, user: Consumer, task: TaskId) -> None:
        """Let a user lose interest in a task, now or later, sometimes more than once."""
        dice = self.dice
        while self.cancels and dice.random() < self.cancels:
            delay_ns = dice.randrange(dice.choice((1, 300 * US, 3 * MS, 10 * MS, 60 * MS)))
            self._cancel(user, task, delay_ns)

    def cancel_running_perhaps(self, task: TaskId, within_ns: int) -> None:
        """Let the owner of a body that runs, or has just died, lose interest in it."""
        if self.cancels and self.dice.random() < self.cancels:
            user = self.user_of(self.accounts[task].owner)
            assert user is not None
            self._cancel(user, task, self.dice.randrange(within_ns))

    def _cancel(self, user: Consumer, task: TaskId, delay_ns: int) -> None:
        how = (task, self.dice.random() < 0.25, self.dice.random() < 0.7)
        user.later(delay_ns, partial(user.cancel, *how))

    def _living(self, peer: PeerId, incarnation: int) -> Life | None:
        for life in self.world.lives.values():
            if life.address.peer == peer and life.address.incarnation == incarnation:
                return life
        return None

    def _next_life(self, name: str) -> Address:
        self._incarnations[name] = self._incarnations.get(name, 0) + 1
        return sim_address(name, self._incarnations[name])

    def _next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def _hash(self, what: bytes, life: Life) -> bytes:
        seed = what + life.address.peer + life.address.incarnation.to_bytes(4, "big")
        return blake2b(seed, digest_size=16).digest()
