"""Ids, specs and messages that tests of the core are written with."""

from __future__ import annotations

from collections.abc import Sequence

from zgen.core.effects import Effect
from zgen.core.task_spec import TaskSpec
from zgen.ids import FunctionId, JobId, LeaseId, ObjectId, PeerId, TaskId, object_id
from zgen.wire.lease import Shape
from zgen.wire.session import Address
from zgen.wire.task import STREAMING, PushedTask
from zgen.wire.value import Value


def named(name: str) -> bytes:
    return name.encode().ljust(16, b".")


def peer(name: str) -> PeerId:
    return PeerId(named(name))


def task(name: str) -> TaskId:
    return TaskId(named(name))


def lease(name: str) -> LeaseId:
    return LeaseId(named(name))


def result(name: str, index: int = 0) -> ObjectId:
    return object_id(task(name), index)


def address(name: str, incarnation: int = 1) -> Address:
    return Address(peer(name), incarnation, f"ipc://{name}")


ONE: Shape = (("CPU", 10_000),)
TWO: Shape = (("CPU", 20_000),)
ME, NODE, WORKER, OTHER_WORKER = peer("me"), peer("node"), peer("worker"), peer("other worker")
JOB = JobId(named("job"))
FUNCTION = FunctionId(named("function"))
PAYLOAD = b"pickle of the function"


def spec(
    name: str,
    returns: int = 1,
    slots: Sequence[ObjectId] = (),
    retries: int = 0,
    shape: Shape = ONE,
    arguments: Value = b"args",
) -> TaskSpec:
    return TaskSpec(
        task(name), FUNCTION, name, returns, arguments, tuple(slots), shape, retries, b""
    )


def stream_spec(name: str, slots: Sequence[ObjectId] = (), retries: int = 0) -> TaskSpec:
    return spec(name, STREAMING, slots, retries)


def pushed(name: str, attempt: int = 0, returns: int = 1) -> PushedTask:
    """Return what a worker gets for ``spec(name)``."""
    return PushedTask(task(name), attempt, FUNCTION, name, returns, b"args", (), b"")


def those(effects: Sequence[Effect], *classes: type) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, classes)]


def without(effects: Sequence[Effect], *classes: type) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, classes)]
