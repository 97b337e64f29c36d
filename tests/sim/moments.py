"""What a task was doing when its user dropped it: marks, so that no moment goes untried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zgen.core.marks import reached
from zgen.core.task_table import Doing
from zgen.ids import ObjectId, TaskId, task_of
from zgen.wire.task import STREAMING

if TYPE_CHECKING:
    from tests.sim.programs import Consumer

#: Marks of drops that every hundred seeds of the cluster must reach; those of cancels are the
#: machines' own.
DROPPED: Final = (
    "stream dropped waiting for arguments",
    "stream dropped waiting for a worker",
    "stream dropped at a worker",
    "stream dropped waiting before it runs again",
    "stream dropped while it is repeated",
    "stream dropped under a cancel",
    "stream dropped with items unread",
    "stream dropped with nothing to read",
    "stream dropped at its end with items unread",
    "stream dropped after its end",
    "stream dropped with its completion kept",
    "result dropped waiting for arguments",
    "result dropped waiting for a worker",
    "result dropped at a worker",
    "result dropped waiting before it runs again",
    "result dropped under a cancel",
    "result dropped that others still need",
)


def note_drop(user: Consumer, names: list[ObjectId], streams: tuple[TaskId, ...]) -> None:
    """Note the moment of a drop that is about to happen; ``user`` holds the last references."""
    for stream in streams:
        _note_stream(user, stream)
    for name in names:
        entry = user.owner.tasks.entries.get(task_of(name))
        if entry is None or entry.spec.returns_count == STREAMING or name in user.refs:
            continue
        _note_task("result", entry.doing.state, entry.cancel is not None)
        if user.owner.refs.records[name].pins:
            reached("result dropped that others still need")


def _note_stream(user: Consumer, stream: TaskId) -> None:
    entry, record = user.owner.tasks.entries.get(stream), user.owner.streams.streams[stream]
    if entry is not None:
        _note_task("stream", entry.doing.state, entry.cancel is not None)
        if record.position < record.known:
            reached("stream dropped while it is repeated")
        reached(f"stream dropped with {'items unread' if record.unread else 'nothing to read'}")
    elif record.unread:
        reached("stream dropped at its end with items unread")
    else:
        reached("stream dropped after its end")
    if ObjectId(stream + bytes(4)) in user.refs:
        reached("stream dropped with its completion kept")


def _note_task(what: str, state: Doing, is_cancelled: bool) -> None:
    reached(f"{what} dropped {state.value}")
    if is_cancelled:
        reached(f"{what} dropped under a cancel")
