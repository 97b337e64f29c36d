"""What became of one life of an actor, as its creator says it to itself and to others."""

from zgen.ids import ActorId
from zgen.slotted import slotted
from zgen.wire.actor import ActorLost
from zgen.wire.lease import ProcessDown, memory_text
from zgen.wire.schema import Buffers
from zgen.wire.value import Fault, FaultKind, Parcel, Value, pack, unpack


@slotted
class Verdict:
    """The end of one life.

    Attributes:
        life: Which one.
        is_dead: Whether it was the last one; else another one begins.
        reason: Why, for people.
        pid: Process id of its worker, or 0.
        exit_code: The worker's exit code, or -1.
        signal: The signal that ended it, or 0.
        init_failed: Whether ``__init__`` did not return.
        error: The error of ``__init__``, or None.
    """

    life: int
    is_dead: bool
    reason: str
    pid: int = 0
    exit_code: int = 0
    signal: int = 0
    init_failed: bool = False
    error: Value | None = None

    def fault(self, actor: ActorId, name: str, *, may_have_run: bool) -> Fault:
        """Return the error of a call of this life."""
        kind = FaultKind.ACTOR_DIED if self.is_dead else FaultKind.ACTOR_UNAVAILABLE
        return Fault(
            kind,
            name,
            self.reason,
            self.pid,
            self.exit_code,
            self.signal,
            may_have_run=may_have_run,
            cause=self.error,
            actor=actor,
            init_failed=self.init_failed,
        )

    def message(self, actor: ActorId) -> ActorLost:
        """Return what other processes are told; an error that no body raised stays here."""
        buffers: list[bytes] = []
        error = (self.error,) if isinstance(self.error, Parcel) else ()
        entries = pack(error, buffers)
        return ActorLost(
            actor,
            self.life,
            self.is_dead,
            self.reason,
            self.pid,
            self.exit_code,
            self.signal,
            self.init_failed,
            entries,
            Buffers(tuple(buffers)),
        )


def verdict_of_death(life: int, pid: int, end: ProcessDown | str) -> Verdict:
    """Return what the end of its worker means to a life: what its node says, or a reason."""
    if isinstance(end, str):
        return Verdict(life, False, end, pid)
    reason = memory_text(end) or end.log_tail
    return Verdict(life, False, reason, pid, end.exit_code, end.signal)


def verdict_of(said: ActorLost) -> Verdict:
    """Return what a creator said.

    Raises:
        RemoteProtocolError: As ``unpack``.
    """
    values, _ = unpack(said.entries, said.buffers)
    return Verdict(
        said.life,
        said.is_dead,
        said.reason,
        said.pid,
        said.exit_code,
        said.signal,
        said.init_failed,
        values[0] if values else None,
    )
