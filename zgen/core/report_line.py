"""What waits to be reported to one owner: what its table `stream_out` keeps of each."""

from dataclasses import field
from typing import TypeAlias

from zgen.ids import TaskId
from zgen.limits import LINE_BUSY_NS
from zgen.slotted import slotted
from zgen.wire.value import Value

#: How a task with fixed results ended: task, attempt, outcome, and how long its body ran.
How: TypeAlias = tuple[TaskId, int, int, int]


@slotted
class ReportLine:
    """What waits for one owner.

    Attributes:
        flushed_ns: When anything last left.
        streams: Streams with waiting items, in order of the first of them.
        outcomes: Ends of tasks with fixed results: how, and with which values.
        size_bytes: Bytes that wait.
    """

    flushed_ns: int = -LINE_BUSY_NS
    streams: dict[TaskId, None] = field(default_factory=dict)
    outcomes: list[tuple[How, tuple[Value, ...]]] = field(default_factory=list)
    size_bytes: int = 0
