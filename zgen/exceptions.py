"""Every error that zgen raises, and Ray's names for them.

::

    ZgenError                         .may_have_run
    ├── TaskError                     user code raised
    ├── TaskCancelledError            you cancelled it
    ├── SystemFailure                 the world broke it
    │   ├── WorkerCrashedError
    │   ├── NodeDiedError
    │   ├── OutOfMemoryError
    │   └── ActorError
    │       ├── ActorDiedError
    │       └── ActorUnavailableError
    ├── ActorExistsError              a name is taken; also a ValueError
    ├── NameUnavailableError          who has a name cannot be told: this node is cut off
    ├── ObjectLostError
    │   ├── OwnerDiedError
    │   └── ObjectReconstructionFailedError
    ├── StreamError
    │   ├── StreamClosedError
    │   ├── StreamLentError           somebody else may read it now
    │   ├── ReplayMismatchError
    │   ├── ReplayLogError
    │   └── YieldCountError           a body yielded more or fewer values than promised
    ├── GetTimeoutError               also a TimeoutError
    ├── CapacityError
    │   ├── ObjectStoreFullError
    │   ├── OutOfDiskError
    │   └── PendingCallsLimitExceeded
    ├── ProtocolError
    │   ├── LocalProtocolError
    │   └── RemoteProtocolError
    ├── NodeStartError                a node could not be started or joined
    │   ├── KeyFileError              the file of the cluster's key cannot be used
    │   ├── UnlockedError             it would be open to others without a key
    │   └── HandshakeError            a process at an address will not talk to this one
    │       ├── WrongKeyError
    │       └── VersionMismatchError
    ├── NamespaceError                zgen.testing has no network whose links could be cut
    ├── NestedRefError                what cannot be pickled there; also a TypeError
    └── InternalError                 an invariant broke

Errors carry fields; the sentence is computed from them. All of them pickle. ``may_have_run`` is
False only where it is certain that nothing ran, so that repeating the call is safe.
"""

import types
from typing import Any, Final


def _rebuild(cls: type["ZgenError"], state: dict[str, Any]) -> "ZgenError":
    error = cls.__new__(cls)
    error.__dict__.update(state)
    Exception.__init__(error)
    return error


class ZgenError(Exception):
    """Root of everything that zgen raises on its own account.

    Attributes:
        may_have_run: False if the work certainly did not run, so that submitting it again is safe.
    """

    may_have_run: bool = True

    def __init__(self, message: str = "") -> None:
        """Keep ``message``; subclasses compute theirs from fields instead."""
        super().__init__()
        self.message = message

    def __str__(self) -> str:
        """Return the sentence that says what happened and what to do next."""
        return self.message

    def __repr__(self) -> str:
        """Return the class and the sentence: lists of errors, and logs, show no more."""
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields, whatever the signature of ``__init__``."""
        return _rebuild, (type(self), self.__dict__)


class TaskError(ZgenError):
    """A remote function raised. You get it from ``get``; never for failures of processes or nodes.

    ``get`` raises an instance that is also of the cause's class where Python allows it, so that
    ``except ValueError`` works across processes.

    Attributes:
        cause: The exception that user code raised first, or a ``ZgenError`` with its text if that
            does not pickle; never a ``TaskError``, however many tasks it came through.
        function_name: Name of the remote function.
        remote_traceback: The traceback as text, as it stood in the worker; empty for a cancel.
        pid: Process id of the worker; 0 if no worker ran it, for an argument that is an error.
        attempt: Which execution of the task raised, from 0.
    """

    def __init__(
        self,
        cause: BaseException,
        function_name: str,
        remote_traceback: str,
        pid: int = 0,
        attempt: int = 0,
    ) -> None:
        """Describe the failure of ``function_name`` by ``cause``."""
        super().__init__()
        self.cause: BaseException = cause.cause if isinstance(cause, TaskError) else cause
        self.function_name = function_name
        self.remote_traceback = remote_traceback
        self.pid = pid
        self.attempt = attempt

    def __str__(self) -> str:
        """Return the remote traceback under a line that says where it was raised."""
        if not self.remote_traceback:  # no code raised it: the task was cancelled
            return str(self.cause)
        again = f", attempt {self.attempt}" if self.attempt else ""
        where = f"raised in worker pid={self.pid}{again}" if self.pid else "failed"
        return f"{self.function_name}() {where}\n\n{self.remote_traceback.rstrip()}"

    def __repr__(self) -> str:
        """Return the class and the cause, without its traceback."""
        return f"{type(self).__name__}({self.cause!r})"

    def as_instance_of_cause(self) -> "TaskError":
        """Return this error as an instance of the cause's class too, where that can be."""
        cause = self.cause
        if issubclass(TaskError, type(cause)):
            return self
        dual = _dual_class(type(cause))
        if dual is None:
            return self
        group = (cause.message, cause.exceptions) if isinstance(cause, BaseExceptionGroup) else ()
        try:
            error = _new_instance(dual, group)
            _copy_fields(cause, error)
            error.__dict__.update(getattr(cause, "__dict__", {}))
            error.__dict__.update(self.__dict__)
            error.args = cause.args
        except Exception:
            return self
        error.__traceback__ = None
        return error

    #: As Ray calls it.
    as_instanceof_cause = as_instance_of_cause


def _new_instance(dual: "type[TaskError]", args: tuple[Any, ...]) -> "TaskError":
    if dual.__new__ is MemoryError.__new__:  # it wants what makes the first base, and says so
        return Exception.__new__(dual)
    return dual.__new__(dual, *args)


def _copy_fields(source: BaseException, target: BaseException) -> None:
    """Copy what ``source`` keeps outside ``__dict__``: fields of builtins, and slots."""
    for cls in type(source).__mro__:
        for name, member in vars(cls).items() if cls is not BaseException else ():
            if isinstance(member, _FIELDS) and not name.startswith("__"):
                try:
                    setattr(target, name, getattr(source, name))
                except (AttributeError, TypeError):
                    continue  # it is unset or cannot be set


_FIELDS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)

#: Dual classes by cause class; bounded by the number of exception classes in the program.
_dual_classes: dict[type, type[TaskError] | None] = {}


def _dual_class(cause_class: type[BaseException]) -> type[TaskError] | None:
    """Return a class that is a TaskError and a ``cause_class``; None where Python refuses."""
    if cause_class in _dual_classes:
        return _dual_classes[cause_class]

    def reduce(self: TaskError) -> tuple[Any, ...]:
        return _rebuild_dual, (
            {name: self.__dict__[name] for name in _DUAL_STATE if name in self.__dict__},
        )

    name = f"TaskError({cause_class.__name__})"
    body = {"__module__": __name__, "__reduce__": reduce, "__str__": TaskError.__str__}
    dual: type[TaskError] | None
    try:
        dual = type(name, (TaskError, cause_class), body)
    except Exception:  # a layout that does not fit, or whatever a user's class refuses with
        dual = None
    _dual_classes[cause_class] = dual
    return dual


#: What a dual error is rebuilt from; the rest is the cause's.
_DUAL_STATE: Final = (
    "message",
    "may_have_run",
    "cause",
    "function_name",
    "remote_traceback",
    "pid",
    "attempt",
)


def _rebuild_dual(state: dict[str, Any]) -> ZgenError:
    plain = _rebuild(TaskError, state)
    assert isinstance(plain, TaskError)
    return plain.as_instance_of_cause()


class TaskCancelledError(ZgenError):
    """The task was cancelled by ``cancel``. Never raised for a task that failed on its own.

    If it may have run, the error is a ``TaskError`` too, as in Ray.

    Attributes:
        task_id: Hex id of the task.
    """

    def __init__(self, task_id: str = "", message: str = "") -> None:
        """Name the cancelled task."""
        super().__init__(message)
        self.task_id = task_id

    def __str__(self) -> str:
        """Say which task was cancelled."""
        return self.message or f"task {self.task_id[:8]} was cancelled"


class SystemFailure(ZgenError):
    """A process or machine failed under the work; user code did not raise."""


class WorkerCrashedError(SystemFailure):
    """The worker process died while it ran the task, and no retry was left.

    Attributes:
        task_name: Name of the remote function.
        pid: Process id of the worker.
        exit_code: Its exit code, or None if a signal ended it.
        signal: The signal that ended it, or None.
        log_tail: Its last lines of output.
        attempts: How many times the task was started.
        history: How the attempts before the last one ended, the last ones if they are many.
    """

    def __init__(
        self,
        task_name: str = "",
        pid: int = 0,
        exit_code: int | None = None,
        signal: int | None = None,
        log_tail: str = "",
        attempts: int = 1,
        may_have_run: bool = True,
        history: tuple[str, ...] = (),
    ) -> None:
        """Describe the death of the worker that ran ``task_name``."""
        super().__init__()
        self.task_name = task_name
        self.pid = pid
        self.exit_code = exit_code
        self.signal = signal
        self.log_tail = log_tail
        self.attempts = attempts
        self.may_have_run = may_have_run
        self.history = history

    def __str__(self) -> str:
        """Say how the worker ended, what it printed last, what was before, and what to do next."""
        end = f"signal {self.signal}" if self.signal is not None else f"exit code {self.exit_code}"
        tail = f"\nlast lines of the worker:\n{self.log_tail}" if self.log_tail else ""
        tail = _history_text(self.history) + tail
        if not self.may_have_run:
            return (
                f"worker pid={self.pid} died of {end} before it began {self.task_name}(), and so "
                f"did every one before it; nothing of the task ran: see what kills workers on the "
                f"node, then call it again{tail}"
            )
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return (
            f"worker pid={self.pid} died of {end} while it ran {self.task_name}(), which was "
            f"started {times}; raise max_retries if the task may be repeated{tail}"
        )


def _history_text(history: tuple[str, ...]) -> str:
    return "".join(["\nbefore that:", *[f"\n  {line}" for line in history]]) if history else ""


class NodeDiedError(SystemFailure):
    """A node died: that of this process, or the one where a task ran and no retry was left.

    What this process owns can still be read if it was its own.

    Attributes:
        node_id: Hex id of the node, if it is known.
        reason: What is known of its end.
        task_name: Name of the remote function that ran there; empty for the node of this process.
        pid: Process id of the worker there, or 0.
        attempts: How many times the task was started.
        history: How the attempts before the last one ended, the last ones if they are many.
    """

    def __init__(
        self,
        node_id: str = "",
        reason: str = "",
        may_have_run: bool = True,
        task_name: str = "",
        pid: int = 0,
        attempts: int = 1,
        history: tuple[str, ...] = (),
    ) -> None:
        """Name the dead node, and what ran there."""
        super().__init__()
        self.node_id = node_id
        self.reason = reason
        self.may_have_run = may_have_run
        self.task_name = task_name
        self.pid = pid
        self.attempts = attempts
        self.history = history

    def __str__(self) -> str:
        """Say which node died, what ran there, and what to do next."""
        reason = self.reason or "no reason known"
        if self.task_name:
            times = "once" if self.attempts == 1 else f"{self.attempts} times"
            return (
                f"the node of worker pid={self.pid} died ({reason}) while that ran "
                f"{self.task_name}(), which was started {times}; raise max_retries if the task may "
                f"be repeated{_history_text(self.history)}"
            )
        node = f"node {self.node_id[:8]}" if self.node_id else "the node"
        return f"{node} died ({reason}); shut zgen down and initialise it again"


class OutOfMemoryError(SystemFailure):
    """The node ended the worker because memory ran out; not for a MemoryError in user code.

    Attributes:
        rss_bytes: Resident memory of the worker when it was ended.
        limit_bytes: How much memory may be in use on its node, by whomever.
        task_name: Name of the remote function.
        pid: Process id of the worker.
        attempts: How many times the task was started.
        history: How the attempts before the last one ended, the last ones if they are many.
    """

    def __init__(
        self,
        rss_bytes: int = 0,
        limit_bytes: int = 0,
        task_name: str = "",
        pid: int = 0,
        attempts: int = 1,
        history: tuple[str, ...] = (),
    ) -> None:
        """Give both sizes, and whose worker it was."""
        super().__init__()
        self.rss_bytes = rss_bytes
        self.limit_bytes = limit_bytes
        self.task_name = task_name
        self.pid = pid
        self.attempts = attempts
        self.history = history

    def __str__(self) -> str:
        """Give both sizes, what was before, and what to do next."""
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return (
            f"memory ran out on the node, whose limit is {self.limit_bytes} bytes; worker "
            f"pid={self.pid} was ended for it at {self.rss_bytes} bytes while it ran "
            f"{self.task_name}(), which was started {times}; let less run at a time (num_cpus, "
            f"memory) or raise max_retries{_history_text(self.history)}"
        )


class ActorError(SystemFailure):
    """An actor could not answer.

    Attributes:
        actor_id: Hex id of the actor.
        actor_name: Name of its class.
        reason: What is known, for people.
    """

    def __init__(
        self, actor_id: str = "", actor_name: str = "", reason: str = "", may_have_run: bool = True
    ) -> None:
        """Name the actor and what is known."""
        super().__init__()
        self.actor_id = actor_id
        self.actor_name = actor_name
        self.reason = reason
        self.may_have_run = may_have_run

    def __str__(self) -> str:
        """Say which actor it is and what is known."""
        return f"{self._who()} could not answer: {self.reason or 'no reason known'}"

    def _who(self) -> str:
        return f"actor {self.actor_name or '(of an unknown class)'} {self.actor_id[:8]}".rstrip()


class ActorDiedError(ActorError):
    """The actor is dead for good. Never raised while it is being restarted.

    Attributes:
        actor_init_failed: Whether it died because its constructor raised.
        cause: What the constructor raised, as a ``TaskError``, or None.
        pid: Process id of its worker, or 0.
        exit_code: Exit code of the worker, or None.
        signal: The signal that ended the worker, or None.
        log_tail: Last lines of the worker.
        preempted: Always False; for programs written for Ray.
    """

    preempted = False

    def __init__(
        self,
        actor_id: str = "",
        actor_name: str = "",
        reason: str = "",
        may_have_run: bool = True,
        *,
        cause: BaseException | None = None,
        pid: int = 0,
        exit_code: int | None = None,
        signal: int | None = None,
        log_tail: str = "",
    ) -> None:
        """Describe the death of an actor under a call."""
        super().__init__(actor_id, actor_name, reason, may_have_run)
        self.cause = cause
        self.pid = pid
        self.exit_code = exit_code
        self.signal = signal
        self.log_tail = log_tail

    @property
    def actor_init_failed(self) -> bool:
        """Whether it died because its constructor raised."""
        return self.cause is not None

    def __str__(self) -> str:
        """Say which actor died, where and of what, and what to do next."""
        if self.cause is not None:
            return f"{self._who()} is dead, because its constructor raised:\n{self.cause}"
        ran = "the call may have run" if self.may_have_run else "the call did not run"
        tail = f"\nlast lines of the worker:\n{self.log_tail}" if self.log_tail else ""
        if self.signal is None and self.exit_code is None:
            return f"{self._who()} is dead: {self.reason or 'no reason known'}; {ran}{tail}"
        end = f"signal {self.signal}" if self.signal is not None else f"exit code {self.exit_code}"
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{self._who()} is dead: its worker pid={self.pid} died of {end}{why}; {ran}; raise "
            f"max_restarts if it may be made anew, and max_task_retries if its calls may be "
            f"repeated{tail}"
        )


class ActorUnavailableError(ActorError):
    """The actor is restarting or cannot be reached; whether the call ran is not known."""

    def __str__(self) -> str:
        """Say which actor it is, and what to do next."""
        ran = "the call may have run" if self.may_have_run else "the call did not run"
        return (
            f"{self._who()} is unavailable: {self.reason or 'it restarts'}; {ran}; call again "
            "later, or raise max_task_retries if its calls may be repeated"
        )


class ActorExistsError(ZgenError, ValueError):
    """The name is taken by another actor of this namespace.

    Attributes:
        name: The name.
        namespace: Where it is taken.
    """

    may_have_run = False

    def __init__(self, name: str = "", namespace: str = "") -> None:
        """Name the name."""
        super().__init__()
        self.name = name
        self.namespace = namespace

    def __str__(self) -> str:
        """Say which name is taken and what to do next."""
        return (
            f"the name {self.name!r} is taken by another actor of namespace {self.namespace!r}; "
            "take another name, or get that actor with get_if_exists=True"
        )


class NameUnavailableError(ZgenError):
    """Whether an actor has a name cannot be told, and the name not be given.

    Three nodes keep each name, and more than half of them must be reached, on the side of a cut
    that has most of the cluster's nodes: else two actors could have one name.

    Attributes:
        name: The name.
        namespace: Where it counts.
        reason: Why.
    """

    may_have_run = False

    def __init__(self, name: str = "", namespace: str = "", reason: str = "") -> None:
        """Name the name, and say why nothing is known of it."""
        super().__init__()
        self.name = name
        self.namespace = namespace
        self.reason = reason

    def __str__(self) -> str:
        """Say what is not known, why, and what to do next."""
        return (
            f"who has the name {self.name!r} in namespace {self.namespace!r} cannot be told now: "
            f"{self.reason}; try again later, or from a node that reaches most of the others "
            "(see zgen status)"
        )


class ObjectLostError(ZgenError):
    """Every copy of an object is gone.

    Attributes:
        object_id: Hex id of the object.
        story: What happened to it, as far as known.
    """

    def __init__(self, object_id: str = "", story: str = "") -> None:
        """Name the object and its story."""
        super().__init__()
        self.object_id = object_id
        self.story = story

    def __str__(self) -> str:
        """Say which object is lost and why."""
        return f"object {self.object_id} is lost: {self.story}"


class OwnerDiedError(ObjectLostError):
    """The process that owned the object died, and nobody else can rebuild it."""

    def __str__(self) -> str:
        """Say whose death lost which object and what to do next."""
        return (
            f"object {self.object_id} is lost: the process that owned it died ({self.story}); let "
            "a process that lives on make it, such as the driver"
        )


class ObjectReconstructionFailedError(ObjectLostError):
    """The object was lost and its task may not or can not run again.

    Attributes:
        reason: One of ``lineage evicted``, ``retries spent``, ``not retryable``, ``put``,
            ``cancelled``, ``actor gone``, ``its actor waits for it``, ``two-way``.
    """

    def __init__(self, object_id: str = "", story: str = "", reason: str = "") -> None:
        """Name the object, its story and the reason."""
        super().__init__(object_id, story)
        self.reason = reason

    def __str__(self) -> str:
        """Say which object is lost, why it is not made again, and what to do next."""
        why = _NOT_REBUILT.get(self.reason, self.reason)
        return f"object {self.object_id} is lost ({self.story}) and is not made again: {why}"


#: ``reason`` -> what it means and what to do.
_NOT_REBUILT: Final = {
    "put": "it was put, and no task makes it; let a task return it, or put it again",
    "not retryable": "its task may run once only; raise max_retries (max_task_retries of an actor) "
    "if it may be repeated",
    "retries spent": "the maximum number of task retries has been exceeded; raise max_retries",
    "lineage evicted": "too much was kept to make lost objects again, and its task was forgotten; "
    "drop references that are not needed",
    "cancelled": "its task was cancelled",
    "actor gone": "the actor of its call is gone; keep a handle of it, or raise max_restarts",
    "its actor waits for it": "only a call of the actor that reads it could, which runs one at a "
    "time; read it elsewhere, or let the actor run several (max_concurrency)",
    "two-way": "it came from a two-way generator, and what that was sent is forgotten when it ends "
    "or is too much; read large items while it runs, or yield smaller ones",
}


class StreamError(ZgenError):
    """A generator stream could not go on.

    Attributes:
        task_name: Name of the generator function.
    """

    def __init__(self, task_name: str = "", message: str = "") -> None:
        """Name the generator."""
        super().__init__(message)
        self.task_name = task_name


class StreamClosedError(StreamError):
    """The consumer went away, or the runtime was shut down, before the stream ended."""


class StreamLentError(StreamError):
    """The generator was handed over, and this process may not read it now.

    Not raised for the holder itself, nor in the owner's process once the generator has come back.

    Attributes:
        who: Who reads it, or what became of the right to.
    """

    may_have_run = True

    def __init__(self, task_name: str = "", who: str = "") -> None:
        """Say who reads it."""
        super().__init__(task_name)
        self.who = who

    def __str__(self) -> str:
        """Say who reads it and what to do next."""
        return (
            f"the generator of {self.task_name}() cannot be read here: {self.who}; it has one "
            "reader at a time, and comes back to who called it when that one returns, drops or "
            "ends"
        )


class ReplayMismatchError(StreamError):
    """A replay of the generator ended differently from what was already reported.

    Attributes:
        expected: Items known from earlier attempts.
        got: Items that the replay yielded.
        how: In which way it differs from an attempt that had ended; empty if none had.
    """

    def __init__(self, task_name: str = "", expected: int = 0, got: int = 0, how: str = "") -> None:
        """Give both counts."""
        super().__init__(task_name)
        self.expected = expected
        self.got = got
        self.how = how

    def __str__(self) -> str:
        """Say what differs and what to do next."""
        if self.how:
            return (
                f"{self.task_name}() was run again for items that were lost, and {self.how}; make "
                "the generator deterministic or give it max_retries=0"
            )
        return (
            f"{self.task_name}() was run again after a failure and yielded {self.got} items where "
            f"at least {self.expected} are known; make the generator deterministic or give it "
            "max_retries=0"
        )


class ReplayLogError(StreamError):
    """A two-way generator would run again, but what it was sent is more than zgen keeps.

    Attributes:
        story: How the process that ran it died.
        limit_bytes: Bytes of what it was sent that are kept.
    """

    def __init__(self, task_name: str = "", story: str = "", limit_bytes: int = 0) -> None:
        """Name the generator, its end and the bound."""
        super().__init__(task_name)
        self.story = story
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        """Say what happened and what to do next."""
        return (
            f"{self.task_name}() cannot go on: {self.story}, and it was sent more than the "
            f"{self.limit_bytes} bytes that are kept to run it again; send references made by "
            "zgen.put() in place of values, or start a generator for each part of the dialogue"
        )


class YieldCountError(StreamError, ValueError):
    """A generator with ``num_objects_per_yield`` yielded something else than so many values.

    Attributes:
        expected: How many values each of its yields has.
        got: How many that one had; -1 if it was neither a tuple nor a list.
        kind: Name of its class.
    """

    def __init__(
        self, task_name: str = "", expected: int = 0, got: int = 0, kind: str = "tuple"
    ) -> None:
        """Give what was promised, and what came."""
        super().__init__(task_name)
        self.expected = expected
        self.got = got
        self.kind = kind

    def __str__(self) -> str:
        """Say what differs and what to do next."""
        what = f"a {self.kind}" if self.got < 0 else f"a {self.kind} of {self.got}"
        return (
            f"{self.task_name}() yielded {what}, and num_objects_per_yield={self.expected}: yield "
            f"a tuple or a list of {self.expected} values each time"
        )


class GetTimeoutError(ZgenError, TimeoutError):
    """The time given to ``get`` or ``next`` ran out; the value may still arrive."""


class CapacityError(ZgenError):
    """A bound of ``zgen.limits`` was reached.

    Attributes:
        limit: The bound, with its unit.
    """

    def __init__(self, limit: str = "", message: str = "") -> None:
        """Name the bound."""
        super().__init__(message)
        self.limit = limit

    def __str__(self) -> str:
        """Name the bound."""
        return self.message or f"the bound {self.limit} was reached"


class ObjectStoreFullError(CapacityError):
    """There is no room for a value in shared memory, and nothing that could make some.

    Attributes:
        limit: What was reached, with sizes.
        largest_holders: Who holds most of the store: name, bytes and number of objects of each.
    """

    def __init__(
        self, limit: str = "", largest_holders: tuple[tuple[str, int, int], ...] = ()
    ) -> None:
        """Name the bound and the largest holders."""
        super().__init__(limit)
        self.largest_holders = largest_holders

    def __str__(self) -> str:
        """Name the bound, what to do next, and the largest holders."""
        return (
            f"no room in shared memory: {self.limit}; drop references and arrays that are not "
            "needed, or start the node with a larger object_store_memory"
            f"{_holders_text(self.largest_holders)}"
        )


class OutOfDiskError(CapacityError):
    """The object store is full, and so is the disk that it spills to.

    Attributes:
        limit: What was reached, with sizes.
        largest_holders: Who holds most of the store: name, bytes and number of objects of each.
    """

    def __init__(
        self, limit: str = "", largest_holders: tuple[tuple[str, int, int], ...] = ()
    ) -> None:
        """Name the bound and the largest holders."""
        super().__init__(limit)
        self.largest_holders = largest_holders

    def __str__(self) -> str:
        """Name the bound, what to do next, and the largest holders."""
        return (
            f"no room in shared memory or on disk: {self.limit}; free disk space, or drop "
            f"references and arrays that are not needed{_holders_text(self.largest_holders)}"
        )


def _holders_text(holders: tuple[tuple[str, int, int], ...]) -> str:
    lines = [f"\n  {size} bytes in {count} objects: {name}" for name, size, count in holders]
    return "".join(["\nthe largest holders are", *lines]) if lines else ""


class PendingCallsLimitExceeded(CapacityError):  # as Ray calls it
    """An actor has as many pending calls of this process as ``max_pending_calls`` allows."""

    may_have_run = False


class ProtocolError(ZgenError):
    """A message or call broke the protocol."""


class LocalProtocolError(ProtocolError):
    """This process broke the protocol: a bug in zgen."""


class RemoteProtocolError(ProtocolError):
    """A peer sent what the protocol does not allow; it is dropped and counted, never fatal here."""


class NodeStartError(ZgenError):
    """No node could be started or joined; the message says what its log said last."""

    may_have_run = False


class KeyFileError(NodeStartError):
    """The file that holds the cluster's key cannot be used.

    Attributes:
        path: The file.
        reason: Why not.
    """

    def __init__(self, path: str = "", reason: str = "") -> None:
        """Name the file and what is wrong with it."""
        super().__init__()
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        """Name the file and what is wrong with it; never what is in it."""
        return f"the key file {self.path} cannot be used: {self.reason}"


class UnlockedError(NodeStartError):
    """A node would have been open to other machines without a key.

    Attributes:
        listen: Where it would have listened.
    """

    def __init__(self, listen: str = "") -> None:
        """Name the address."""
        super().__init__()
        self.listen = listen

    def __str__(self) -> str:
        """Say what to do next."""
        return (
            f"{self.listen} can be reached from other machines, and whoever reaches a node without "
            "a key runs code on it: make a key with `zgen keygen FILE` and start every node with "
            "--key FILE; or, in a network that only friends can reach, start it with --insecure"
        )


class HandshakeError(NodeStartError):
    """No process at an address would talk to this one.

    Attributes:
        endpoint: The address.
        reason: Why not, as far as this end can tell.
    """

    def __init__(self, endpoint: str = "", reason: str = "") -> None:
        """Name the address and the reason."""
        super().__init__()
        self.endpoint = endpoint
        self.reason = reason

    def __str__(self) -> str:
        """Name the address and the reason."""
        return f"{self.endpoint} cannot be joined: {self.reason}"


class WrongKeyError(HandshakeError):
    """The two ends of a connection do not have the same key, or only one of them has one."""


class VersionMismatchError(HandshakeError):
    """The two ends of a connection run another zgen, Python or protocol."""


class NamespaceError(ZgenError):
    """A ``zgen.testing.Cluster`` has no network of its own, so that no link can be cut.

    Attributes:
        reason: What is missing.
    """

    def __init__(self, reason: str = "") -> None:
        """Say what is missing."""
        super().__init__()
        self.reason = reason

    def __str__(self) -> str:
        """Return the sentence, with what to do."""
        return (
            f"no network namespaces: {self.reason}\n"
            "use Cluster(namespaces=True) as root on Linux with iproute2; without it, pause_node "
            "and remove_node are what can be done to a node"
        )


class NestedRefError(ZgenError, TypeError):
    """A reference or generator is pickled by hand, or a generator with a function."""

    may_have_run = False


class InternalError(ZgenError):
    """An invariant of zgen broke; this runtime is closed. Please report it with the story.

    Attributes:
        story: What was happening.
    """

    def __init__(self, story: str = "") -> None:
        """Keep the story."""
        super().__init__()
        self.story = story

    def __str__(self) -> str:
        """Tell the story."""
        return f"zgen is broken and was closed in this process; please report this:\n{self.story}"


# -- Ray's names -----------------------------------------------------------------------------------
RayError = ZgenError
RayTaskError = TaskError
RayActorError = ActorError
RaySystemError = SystemFailure
UserCodeException = TaskError
LocalRayletDiedError = NodeDiedError
ActorAlreadyExistsError = ActorExistsError
StreamingGeneratorReplayInconsistentError = ReplayMismatchError
ObjectReconstructionFailedMaxAttemptsExceededError = ObjectReconstructionFailedError
ObjectReconstructionFailedLineageEvictedError = ObjectReconstructionFailedError
ObjectFetchTimedOutError = ObjectLostError
ObjectFreedError = ObjectLostError
ReferenceCountingAssertionError = ObjectLostError

#: Ray's name -> zgen's class, for documentation and tests.
RAY_ALIASES: Final[dict[str, type[ZgenError]]] = {
    "RayError": RayError,
    "RayTaskError": RayTaskError,
    "RayActorError": RayActorError,
    "RaySystemError": RaySystemError,
    "UserCodeException": UserCodeException,
    "LocalRayletDiedError": LocalRayletDiedError,
    "ActorAlreadyExistsError": ActorAlreadyExistsError,
    "StreamingGeneratorReplayInconsistentError": StreamingGeneratorReplayInconsistentError,
    "ObjectReconstructionFailedMaxAttemptsExceededError": ObjectReconstructionFailedError,
    "ObjectReconstructionFailedLineageEvictedError": ObjectReconstructionFailedError,
    "ObjectFetchTimedOutError": ObjectFetchTimedOutError,
    "ObjectFreedError": ObjectFreedError,
    "ReferenceCountingAssertionError": ReferenceCountingAssertionError,
}
