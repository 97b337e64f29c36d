"""What pushed work keeps: regions and references of its arguments, from push to end."""

from zgen.core.admission import Admission, Waiting
from zgen.core.borrowing import Borrowing
from zgen.core.effects import Effect, LearnFunction, Send
from zgen.core.marks import reached
from zgen.core.store_client import StoreClient
from zgen.ids import ObjectId, PeerId
from zgen.wire.task import ArgumentsLost, DefineFunction, PushTasks, TasksReturned
from zgen.wire.value import NestedRef, Parcel, Stored, Value, keeping, refs_in, unpack


class Arguments:
    """Arguments of the work that others pushed here.

    A region that is not held yet is asked for, and the work waits for it. References inside are
    borrowed until the work has ended; those in what a function closes over, as long as functions
    are known: as this process lives.

    Attributes:
        closed_over: References in what functions close over.
    """

    def __init__(self, store: StoreClient, borrowing: Borrowing) -> None:
        """Keep regions in ``store`` and references in ``borrowing``."""
        self._store = store
        self._borrowing = borrowing
        self.closed_over: list[NestedRef] = []

    def unpack(self, sender: PeerId, message: PushTasks, out: list[Effect]) -> list[Waiting]:
        """Return the work in a message; what its values refer to is borrowed."""
        at = 0
        pushed: list[Waiting] = []
        lease, calls = message.lease, message.calls or (None,) * len(message.tasks)
        slots: tuple[Value, ...]
        arguments: Value
        for push, task in enumerate(message.tasks):
            if type(task.arguments) is bytes and not task.slots:
                arguments, slots = task.arguments, ()
            else:
                entries = (task.arguments, *task.slots)
                (arguments, *values), at = unpack(entries, message.buffers, at)
                slots = tuple(values)
                self._borrowing.take_in(sender, (arguments, *slots), out)
            number = message.first_push + push
            pushed.append(Waiting(sender, lease, number, task, arguments, slots, calls[push]))
        return pushed

    def learn(self, sender: PeerId, message: DefineFunction, out: list[Effect]) -> None:
        """Let a function be known, and borrow what it refers to."""
        if message.refs:
            self.closed_over.extend(message.refs)
            self._borrowing.take_in(sender, (Parcel(b"", (), False, message.refs),), out)
        out.append(LearnFunction(message.function, message.payload))

    def begin(self, slots: tuple[Value, ...]) -> tuple[Value, ...]:
        """Count one view of each region among values that a body is about to see."""
        begin = self._store.regions.begin
        return tuple([begin(slot) if type(slot) is Stored else slot for slot in slots])

    def keep(self, waiting: Waiting) -> None:
        """Keep the regions of one piece of work; it waits for those that are not held."""
        for slot in waiting.slots:
            if type(slot) is Stored and not self._store.regions.borrow(slot):
                waiting.missing[slot.region] = None

    def give_back_lost(self, admission: Admission, out: list[Effect]) -> None:
        """Give plain tasks back whose arguments are gone, and all that queues behind each.

        So no mark goes beyond one that was given back, as with all that is handed back.
        """
        queue = admission.queue
        while queue and not queue[0].missing:
            first = queue[0]
            lost, reason = self._lost_of(first)
            if not lost:
                return
            reached("task handed back whose arguments are gone")
            task, lease = first.task, first.lease
            out.append(
                Send(first.owner, ArgumentsLost(lease, task.task, task.attempt, lost, reason))
            )
            mine = [waiting for waiting in queue if waiting.lease == lease]
            for waiting in mine:
                queue.remove(waiting)
            self.drop(mine)
            admission.note_return(lease)
            back = tuple([(waiting.task.task, waiting.task.attempt) for waiting in mine[1:]])
            out.append(Send(first.owner, TasksReturned(lease, back)))

    def give_back_call(self, call: Waiting, out: list[Effect]) -> bool:
        """Give a call back whose arguments are gone; return False if they are not."""
        lost, reason = self._lost_of(call)
        if lost:
            reached("call handed back whose arguments are gone")
            task = call.task
            self.drop([call])
            message = ArgumentsLost(call.lease, task.task, task.attempt, lost, reason)
            out.append(Send(call.owner, message))
        return bool(lost)

    def drop(self, dropped: list[Waiting]) -> None:
        """Let go of what work keeps that will not begin."""
        for waiting in dropped:
            self.let_go(waiting)
            for slot in waiting.slots:
                if type(slot) is Stored:
                    self._store.regions.unborrow(slot)

    def let_go(self, waiting: Waiting) -> None:
        """Let go of what arguments refer to; their regions go with their views."""
        if waiting.slots or type(waiting.arguments) is not bytes:
            refs = refs_in((waiting.arguments, *waiting.slots))
            if refs:
                self._store.dropped.append(Parcel(b"", (), False, refs))
        if waiting.inputs:
            self._store.dropped.extend(keeping([given.value for given in waiting.inputs]))

    def needs(self, all_waiting: list[Waiting], values: list[Value]) -> list[ObjectId]:
        """Return what work here and other ``values`` refer to, an object for each that does."""
        values = list(values)
        for waiting in all_waiting:
            values.extend((waiting.arguments, *waiting.slots))
            values.extend([given.value for given in waiting.inputs])
        return [ref.object for ref in (*refs_in(values), *self.closed_over)]

    def _lost_of(self, waiting: Waiting) -> tuple[tuple[tuple[int, int], ...], str]:
        """Return position and region of each argument whose region is gone, and why one is."""
        lost: list[tuple[int, int]] = []
        reason = ""
        for position, slot in enumerate(waiting.slots):
            why = self._store.regions.why_lost(slot) if type(slot) is Stored else ""
            if type(slot) is Stored and why:
                lost.append((position, slot.region))
                reason = why
        return tuple(lost), reason
