"""Options of tasks and their validation, `RemoteFunction`."""

import inspect
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, NoReturn, ParamSpec, TypeVar

from zgen.core.events import DefineTaskFunction, SubmitTask
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import NestedRefError, ObjectLostError
from zgen.handles import ObjectRef, ObjectRefGenerator, put_packed
from zgen.ids import FunctionId, ObjectId, TaskId, derive_task_id, hash_function, object_id
from zgen.io import serializer
from zgen.io.serializer import Large
from zgen.io.task_context import TaskContext
from zgen.limits import ITEMS_COUNT_MAX, MAX_RETRIES_DEFAULT, RETURNS_COUNT_MAX
from zgen.runtime import start
from zgen.runtime.process import Runtime
from zgen.util.scheduling_strategies import strategy_from
from zgen.wire.lease import ANYWHERE, Demand, PlacedShape
from zgen.wire.task import STREAMING
from zgen.wire.value import Value

P = ParamSpec("P")
R = TypeVar("R")

#: Resources are counted in ten-thousandths.
UNIT: Final = 10_000
_NO_ARGUMENTS: Final = b""
WINDOW: Final = "_generator_backpressure_num_objects"
_MAY_BE_NONE: Final = ("num_returns", "num_cpus", "num_gpus", "memory", WINDOW)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How a remote function is run.

    Attributes:
        num_returns: ``"streaming"``, a number of results, or None for streaming where the function
            is a generator function and 1 elsewhere.
        num_cpus: CPUs that it holds while it runs; 1 by default.
        num_gpus: GPUs likewise.
        memory: Bytes of memory likewise, as an accounting unit.
        resources: Other resources likewise, by name.
        max_retries: How often it may run again after a failure of the system; -1 for ever.
        retry_exceptions: True, or the exception classes after which it may run again too.
        name: What messages call it.
        scheduling_strategy: Where it runs: ``"DEFAULT"``, ``"SPREAD"``, or a class of
            ``zgen.util.scheduling_strategies``.
        label_selector: Labels that its node has: a value, ``"!value"``, ``"in(a, b)"`` or
            ``"!in(a, b)"`` for each.
        _generator_backpressure_num_objects: Items of a generator that may be there without being
            taken by ``next``; more are not yielded before. None or -1 for any number.
    """

    num_returns: int | str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: dict[str, float] = field(default_factory=dict)
    max_retries: int = MAX_RETRIES_DEFAULT
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    name: str = ""
    scheduling_strategy: Any = None
    label_selector: dict[str, str] | None = None
    _generator_backpressure_num_objects: int | None = None

    @property
    def window(self) -> int:
        """Items of a stream that may be there without being taken; 0 for any number."""
        return min(max(self._generator_backpressure_num_objects or 0, 0), ITEMS_COUNT_MAX)


def check_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return ``given`` options in the form in which ``TaskOptions`` keeps them.

    Raises:
        ValueError: An option is unknown, or its value is out of range.
        TypeError: A value is of a wrong type.
    """
    checked = dict(given)
    for name, value in given.items():
        if name not in TaskOptions.__dataclass_fields__:
            known = ", ".join(TaskOptions.__dataclass_fields__)
            raise ValueError(f"unknown option {name!r} for a remote function; known are {known}")
        if value is None and name not in _MAY_BE_NONE:
            del checked[name]
    for name in ("num_cpus", "num_gpus", "memory"):
        if checked.get(name) is not None:
            check_amount(name, checked[name])
    if checked.get("resources") is not None:
        if not isinstance(checked["resources"], dict):
            raise TypeError(f"resources must be a dict, got {checked['resources']!r}")
        for name, amount in checked["resources"].items():
            check_amount(f"resources[{name!r}]", amount)
            if name in ("CPU", "GPU", "memory"):
                raise ValueError(f"resources[{name!r}]: use num_cpus, num_gpus or memory instead")
    _check_num_returns(checked.get("num_returns"))
    retries = checked.get("max_retries", 0)
    if type(retries) is not int or retries < -1:
        raise ValueError(f"max_retries must be an integer >= -1, got {retries!r}")
    if "retry_exceptions" in checked:
        checked["retry_exceptions"] = _check_retry_exceptions(checked["retry_exceptions"])
    if not isinstance(checked.get("name", ""), str):
        raise TypeError(f"name must be a string, got {checked['name']!r}")
    _check_window(checked.get(WINDOW))
    strategy_from(checked.get("scheduling_strategy"), checked.get("label_selector"))
    return checked


def _check_window(value: Any) -> None:
    if value == 0 and type(value) is int:
        raise ValueError(f"{WINDOW}=0 is not allowed: nothing could ever be yielded; -1 is none")
    if value is not None and (type(value) is not int or value < -1):
        raise ValueError(f"{WINDOW} must be an integer >= 1, or -1 or None, got {value!r}")


def check_amount(name: str, amount: Any) -> None:
    """Check an amount of a resource.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative or finer than one ten-thousandth.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise TypeError(f"{name} must be a number, got {amount!r}")
    if not 0 <= amount < 1 << 49:
        raise ValueError(f"{name} must be at least 0, got {amount!r}")
    if amount and round(amount * UNIT) == 0:
        raise ValueError(f"{name}={amount!r} is finer than the smallest amount, 0.0001")


def _check_num_returns(value: Any) -> None:
    if value is None or value == "streaming":
        return
    if type(value) is not int:
        raise ValueError(f'num_returns must be "streaming" or an integer >= 0, got {value!r}')
    if not 0 <= value <= RETURNS_COUNT_MAX:
        raise ValueError(f"num_returns must be between 0 and {RETURNS_COUNT_MAX}, got {value}")


def _check_retry_exceptions(value: Any) -> bool | tuple[type[BaseException], ...]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(c, type) and issubclass(c, BaseException) for c in value
    ):
        raise TypeError(
            f"retry_exceptions must be a bool or a list of exception classes, got {value!r}"
        )
    return tuple(value)


class RemoteFunction(Generic[P, R]):
    """A function whose calls run in worker processes; made by ``@zgen.remote``."""

    def __init__(self, function: Callable[P, R], options: TaskOptions) -> None:
        """Wrap ``function``.

        Raises:
            ValueError: The options do not fit the function.
        """
        self._function = function
        self._options = options
        #: Read at the first call: a function that calls itself is unpickled before its defaults
        #: are.
        self._signature: inspect.Signature | None = None
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = getattr(function, "__module__", "")
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._returns_count = _returns_count(function, options)
        self._window = options.window if self._returns_count == STREAMING else 0
        self._shape = _demand(options)
        self._retry_exceptions = b""
        #: The root of the runtime that knows the function, and the name that it has there. Not the
        #: runtime itself, which would live on with all that it owned.
        self._defined_in: TaskContext | None = None
        self._id = FunctionId(b"")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        """A remote function is not called directly.

        Raises:
            TypeError: Always; it says what to do.
        """
        raise TypeError(
            f"{self.__name__}() is a remote function: call {self.__name__}.remote() instead"
        )

    def options(self, **options: Any) -> "RemoteFunction[P, R]":
        """Return the same function with other options; see ``TaskOptions``.

        Raises:
            ValueError: An option is unknown, out of range, or does not fit the function.
            TypeError: A value is of a wrong type.
        """
        return RemoteFunction(self._function, replace(self._options, **check_options(options)))

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submit a task and return at once.

        References among the top-level arguments are replaced by their values before the task runs.

        Returns:
            An ``ObjectRefGenerator`` for a streaming function; else a reference, a list of
            references where ``num_returns`` is not 1, or None where it is 0.

        Raises:
            TypeError: The arguments do not fit the function.
            NestedRefError: A generator lies inside an argument, or the function closes over one.
            ObjectLostError: An argument is a reference of a zgen that was shut down.
            ObjectStoreFullError: An argument is large, and there is no room for it.
            OutOfDiskError: And none can be made, for a full disk.
            NodeDiedError: The node is gone.
        """
        runtime = start.ensure()
        runtime.enter()
        runtime.refuse_if_lost()
        if self._defined_in is not runtime.root:
            self._define(runtime)
        arguments, slots, puts = self._pack(runtime, args, kwargs)
        context = runtime.context
        task = derive_task_id(context.task, context.attempt, next(context.submits))
        options = self._options
        spec = TaskSpec(
            task,
            self._id,
            options.name or self.__name__,
            self._returns_count,
            arguments,
            slots,
            self._shape,
            options.max_retries,
            self._retry_exceptions,
            self._window,
            parent=context.task,
            parent_attempt=context.attempt,
        )
        runtime.loop.post(SubmitTask(spec))
        del puts  # the task needs what they refer to, and keeps it
        return self._handles(runtime, task)

    def __repr__(self) -> str:
        """Name the function."""
        return f"RemoteFunction({self.__module__}.{self.__qualname__})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the function and the options, so that a task can submit further ones."""
        return RemoteFunction, (self._function, self._options)

    def _define(self, runtime: Runtime) -> None:
        payload, refs = serializer.dump_with_refs(self._function)
        function = hash_function(payload)
        retriable = self._options.retry_exceptions
        self._retry_exceptions = serializer.dump_plain(retriable) if retriable else b""
        runtime.loop.post(DefineTaskFunction(function, payload, refs))
        self._id = function  # not before: another thread may submit under it at once
        self._defined_in = runtime.root

    def _pack(
        self, runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Value, tuple[ObjectId, ...], list[ObjectRef[Any]]]:
        """Return the pickled arguments, what they refer to, and references made for that alone."""
        signature = self._signature
        if signature is None:
            signature = self._signature = _signature(self._function)
        if not (args or kwargs):
            if signature.parameters:
                signature.bind()
            return _NO_ARGUMENTS, (), []
        signature.bind(*args, **kwargs)
        slots: list[ObjectId] = []
        records = runtime.machine.owner.refs.records

        def replaced(argument: Any) -> Any:
            if type(argument) is ObjectRef:
                if records.get(ObjectId(argument.binary())) is not argument.record:
                    raise ObjectLostError(argument.hex(), "its zgen was shut down")
                slots.append(ObjectId(argument.binary()))
                return serializer.Slot(len(slots) - 1)
            if type(argument) is ObjectRefGenerator:
                raise NestedRefError(
                    "you cannot return or pass a generator to another task; pass its items"
                )
            return argument

        packed = tuple([replaced(argument) for argument in args])
        named = {name: replaced(argument) for name, argument in kwargs.items()}
        arguments = serializer.serialize((packed, named))
        if type(arguments) is Large:
            return _put_large(runtime, packed, named, slots)
        return arguments, tuple(slots), []

    def _handles(self, runtime: Runtime, task: TaskId) -> Any:
        count = self._returns_count
        if count == STREAMING:
            return ObjectRefGenerator(task, runtime)
        records = runtime.machine.owner.refs.records
        if count == 1:
            name = object_id(task, 0)
            return ObjectRef(name, records[name])
        if count == 0:
            return None
        names = [object_id(task, index) for index in range(count)]
        return [ObjectRef(name, records[name]) for name in names]


def _put_large(
    runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any], slots: list[ObjectId]
) -> tuple[Value, tuple[ObjectId, ...], list[ObjectRef[Any]]]:
    """Put the large ones of packed arguments, each once, so that they travel as references."""
    puts: list[ObjectRef[Any]] = []
    #: Argument that is put -> its slot; one that is given twice stays one object.
    known: dict[int, serializer.Slot] = {}

    def replaced(argument: Any) -> Any:
        slot = known.get(id(argument))
        if slot is None:
            packed = serializer.serialize(argument)
            if type(packed) is not Large:
                return argument
            puts.append(put_packed(runtime, packed))
            slots.append(ObjectId(puts[-1].binary()))
            slot = known[id(argument)] = serializer.Slot(len(slots) - 1)
        return slot

    packed = tuple([replaced(argument) for argument in args])
    named = {name: replaced(argument) for name, argument in kwargs.items()}
    arguments = serializer.serialize((packed, named))
    if type(arguments) is Large:  # of many that are not large
        arguments = arguments.copied()
    return arguments, tuple(slots), puts


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except ValueError:  # a builtin without one: the call itself tells what is wrong
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return inspect.Signature([inspect.Parameter(kind.name.lower(), kind) for kind in kinds])


def _returns_count(function: Callable[..., Any], options: TaskOptions) -> int:
    generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if options.num_returns == "streaming" and not generates:
        raise ValueError(f'num_returns="streaming", but {function!r} is not a generator function')
    if isinstance(options.num_returns, int):
        return options.num_returns
    return STREAMING if generates else 1


def _demand(options: TaskOptions) -> Demand:
    amounts = dict(options.resources)
    amounts["CPU"] = 1 if options.num_cpus is None else options.num_cpus
    amounts["GPU"] = options.num_gpus or 0
    amounts["memory"] = options.memory or 0
    kept = [(name, round(amount * UNIT)) for name, amount in amounts.items() if amount]
    shape = tuple(sorted(kept))
    strategy = strategy_from(options.scheduling_strategy, options.label_selector)
    return shape if strategy == ANYWHERE else PlacedShape(shape, strategy)


def make_remote_function(function: Any, options: dict[str, Any]) -> RemoteFunction[Any, Any]:
    """Make a function remote: its calls, by ``.remote()``, run in worker processes.

    Raises:
        ValueError: An option is unknown, out of range, or does not fit the function.
        TypeError: It is not a function.
    """
    if isinstance(function, RemoteFunction):
        raise TypeError(f"{function!r} is remote already; use .options() to change how it runs")
    if not isinstance(function, (types.FunctionType, types.BuiltinFunctionType)) and not callable(
        function
    ):
        raise TypeError(f"@zgen.remote takes a function, got {function!r}")
    if inspect.iscoroutinefunction(function):
        raise ValueError(f"{function.__name__}() is async; only methods of actors may be")
    return RemoteFunction(function, TaskOptions(**check_options(options)))


def names_of(refs: Iterable[ObjectRef[Any]]) -> list[ObjectId]:
    """Return the ids of ``refs``."""
    return [ObjectId(ref.binary()) for ref in refs]
