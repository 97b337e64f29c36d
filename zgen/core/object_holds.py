"""Why each object of a process is held, and by whom: what `zgen.state` and `zgen memory` show.

Rules of this file: it looks and changes nothing. Every pin that the tables count has one reason
here, and every local reference; ``tests/unit/core`` and the simulator count both.
"""

from typing import Final, TypeAlias

from zgen.core.admission import Waiting
from zgen.core.executor import Executor
from zgen.core.owner import Owner
from zgen.ids import ActorId, ObjectId, short, task_of
from zgen.wire.value import refs_in, refs_of

LOCAL: Final = "local reference"
ACTOR: Final = "actor state"
TASK: Final = "pending task"
CALL: Final = "pending call"
RUNNING: Final = "running task"
INSIDE: Final = "inside a value"
FUNCTION: Final = "function"
LINEAGE: Final = "lineage"
BORROWER: Final = "borrower"
DEAD_BORROWER: Final = "dead borrower"
LOAN: Final = "loan"
UNREAD: Final = "unread item"

#: Reason and by whom -> how often.
Holds: TypeAlias = dict[tuple[str, str], int]


def pins_of(owner: Owner, executor: Executor | None) -> dict[ObjectId, Holds]:
    """Return what pins the objects of a process that anything pins."""
    found: dict[ObjectId, Holds] = {}
    _by_tasks(found, owner)
    _by_values(found, owner)
    _by_processes(found, owner)
    _by_lineage(found, owner)
    calls = owner.actors.calling.calls.targets
    for name in owner.actors.calling.needs():
        _add(found, name, CALL, f"{calls[ActorId(task_of(name))].pending} of them")
    if executor is not None:
        _by_work(found, executor)
    return found


def local_reason(executor: Executor | None) -> tuple[str, str]:
    """Return what user references in a process are."""
    if executor is not None and executor.calls is not None:
        return ACTOR, f"actor {short(executor.calls.actor)}"
    return LOCAL, "this process"


def _add(found: dict[ObjectId, Holds], name: ObjectId, reason: str, by: str) -> None:
    holds = found.setdefault(name, {})
    holds[reason, by] = holds.get((reason, by), 0) + 1


def _by_tasks(found: dict[ObjectId, Holds], owner: Owner) -> None:
    for task, entry in owner.tasks.entries.items():
        spec = entry.spec
        if not spec.slots and type(spec.arguments) is bytes:
            continue
        by = f"{spec.name}() {short(task)}"
        for name in (*spec.slots, *[ref.object for ref in refs_of(spec.arguments)]):
            _add(found, name, TASK, by)
    for ref in owner.placement.pushing.closed_over():
        _add(found, ref.object, FUNCTION, "a function of this process")


def _by_values(found: dict[ObjectId, Holds], owner: Owner) -> None:
    for outer, record in owner.refs.records.items():
        if record.value is not None and type(record.value) is not bytes:
            for ref in refs_of(record.value):
                _add(found, ref.object, INSIDE, f"object {short(outer)}")
    for stream, items in owner.streams.streams.items():
        for ref in refs_in(items.unread):
            _add(found, ref.object, INSIDE, f"an item of {items.name}() {short(stream)}")


def _by_lineage(found: dict[ObjectId, Holds], owner: Owner) -> None:
    for task, kept in owner.pins.lineage.entries.items():
        for name in kept.pinned:
            _add(found, name, LINEAGE, f"{kept.spec.name}() {short(task)}")


def _by_processes(found: dict[ObjectId, Holds], owner: Owner) -> None:
    lent = owner.borrowing.lent
    for reason, table in ((BORROWER, lent.borrowers), (LOAN, lent.loans)):
        for peer, names in table.items():
            for name in names:
                _add(found, name, reason, peer.hex())
    for name in lent.mourned():
        _add(found, name, DEAD_BORROWER, "a process that died a moment ago")


def _by_work(found: dict[ObjectId, Holds], executor: Executor) -> None:
    for waiting in work_of(executor):
        refs = refs_in((waiting.arguments, *waiting.slots))
        by = f"{waiting.task.name}() {short(waiting.task.task)}"
        for ref in refs:
            _add(found, ref.object, RUNNING, by)
    for ref in refs_in(executor.reports.values()):
        _add(found, ref.object, INSIDE, "what waits to be sent")
    for ref in executor.closed_over:
        _add(found, ref.object, FUNCTION, "a function that runs here")


def work_of(executor: Executor) -> list[Waiting]:
    """Return what was pushed to a process and has not ended, what runs first."""
    running = running_in(executor)
    queued = [*executor.admission.queue]
    if executor.calls is not None:
        queued += executor.calls.waiting()
    return running + queued


def running_in(executor: Executor) -> list[Waiting]:
    """Return what runs in a process."""
    if executor.calls is not None:
        return [each.call for each in executor.calls.running.values()]
    running = executor.admission.running
    return [running] if running is not None else []
