"""Faults, which state machines decide on, as the exceptions that users get."""

from zgen.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectStoreFullError,
    OutOfMemoryError,
    OwnerDiedError,
    ReplayLogError,
    ReplayMismatchError,
    StreamClosedError,
    StreamLentError,
    SystemFailure,
    TaskCancelledError,
    TaskError,
    WorkerCrashedError,
    ZgenError,
)
from zgen.wire.value import Fault, FaultKind


def error_of_fault(fault: Fault, cause: BaseException | None) -> BaseException:
    """Return what is raised for a fault whose cause, if it has one, is ``cause``."""
    if fault.kind is FaultKind.WORKER_CRASHED:
        signal = fault.signal or None
        code = None if signal is not None else fault.exit_code
        return WorkerCrashedError(
            fault.name,
            fault.pid,
            code,
            signal,
            fault.reason,
            fault.attempts,
            fault.may_have_run,
            fault.history,
        )
    if fault.kind is FaultKind.OUT_OF_MEMORY:
        sizes = fault.rss_bytes, fault.limit_bytes
        return OutOfMemoryError(*sizes, fault.name, fault.pid, fault.attempts, fault.history)
    if fault.kind is FaultKind.NODE_DIED:
        ran = fault.name, fault.pid, fault.attempts, fault.history
        return NodeDiedError("", fault.reason, fault.may_have_run, *ran)
    if fault.kind is FaultKind.REPLAY_MISMATCH:
        return ReplayMismatchError(fault.name, fault.expected, fault.got, fault.reason)
    if fault.kind is FaultKind.LOG_LOST:
        return ReplayLogError(fault.name, fault.reason, fault.limit_bytes)
    if fault.kind is FaultKind.REFUSED:
        refusal = SystemFailure(f"{fault.name}() was refused: {fault.reason}")
        refusal.may_have_run = False
        return refusal
    if fault.kind is FaultKind.OBJECT_LOST:
        return ObjectLostError(fault.name, fault.reason)
    if fault.kind is FaultKind.NOT_REBUILT:
        return ObjectReconstructionFailedError(fault.name, fault.reason, fault.why)
    if fault.kind is FaultKind.STORE_FULL:
        return ObjectStoreFullError(fault.reason)
    if fault.kind is FaultKind.CANCELLED:
        return _cancelled(fault)
    if fault.kind is FaultKind.OWNER_DIED:
        return OwnerDiedError(fault.name, fault.reason)
    if fault.kind is FaultKind.STREAM_LENT:
        return StreamLentError(fault.name, fault.reason)
    if fault.kind is FaultKind.SHUT_DOWN:
        return StreamClosedError(fault.name, "zgen was shut down before this was ready")
    if fault.kind is FaultKind.ACTOR_DIED:
        return _actor_died(fault, cause)
    if fault.kind is FaultKind.ACTOR_UNAVAILABLE:
        name = fault.name.rpartition(".")[0]
        return ActorUnavailableError(fault.actor.hex(), name, fault.reason, fault.may_have_run)
    assert cause is not None, fault
    refused = TaskError(cause, fault.name, f"an argument of {fault.name}() is an error:\n{cause}")
    refused.may_have_run = fault.may_have_run
    return refused.as_instance_of_cause()


def _cancelled(fault: Fault) -> ZgenError:
    """Return the error of a cancelled task; of one that may have run it is a TaskError too."""
    task = fault.reason
    stopped = TaskCancelledError(task, f"{fault.name}(), task {task[:8]}, was cancelled")
    stopped.may_have_run = fault.may_have_run
    if not fault.may_have_run:
        return stopped
    return TaskError(stopped, fault.name, "").as_instance_of_cause()


def _actor_died(fault: Fault, cause: BaseException | None) -> ActorDiedError:
    ended = fault.signal != 0 or fault.exit_code > 0
    return ActorDiedError(
        fault.actor.hex(),
        fault.name.rpartition(".")[0],
        fault.reason,
        fault.may_have_run,
        cause=cause,
        pid=fault.pid,
        exit_code=fault.exit_code if ended and not fault.signal else None,
        signal=fault.signal or None,
    )
