"""`RemoteFunction`: what a call of it is made of."""

import inspect
import types
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    TypeVar,
    overload,
)

from zgen.core.events import DefineTaskFunction, SubmitTask
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import ObjectLostError
from zgen.handles import ObjectRef, ObjectRefGenerator, put_packed
from zgen.ids import (
    FIRST_RESULT,
    FunctionId,
    ObjectId,
    TaskId,
    derive_task_id,
    hash_function,
    object_id,
)
from zgen.io import methods, serializer
from zgen.io.methods import positional_counts
from zgen.io.serializer import Large
from zgen.io.task_context import TaskContext
from zgen.options import TaskOptions, check_options, check_two_way, check_yields, demand_of
from zgen.ref_tuples import RefTupleGenerator
from zgen.runtime import process, start
from zgen.runtime.process import Runtime
from zgen.two_way import TwoWayGenerator
from zgen.wire.task import DYNAMIC, STREAMING
from zgen.wire.value import Value

if TYPE_CHECKING:
    from zgen.call_types import AnyTuples, Calls, Dynamic, Fixed, Several
    from zgen.call_types import remote_type as remote_type  # for the other modules too
else:
    Calls = Generic

    def remote_type(method):
        """Leave it as it is: types are for type checkers."""
        return method


P = ParamSpec("P")
R = TypeVar("R")

_NO_ARGUMENTS: Final = b""


class Definition:
    """What workers know a function by, which is pickled once, whatever its options are.

    Attributes:
        root: The root of the runtime that knows it. Not the runtime itself, which would live on
            with all that it owned.
        function: The name that it has there.
    """

    __slots__ = ("function", "root")

    def __init__(self) -> None:
        """Start unknown."""
        self.root: TaskContext | None = None
        self.function = FunctionId(b"")


class RemoteFunction(Calls[P, R]):
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
        self._positional = (0, -1)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = getattr(function, "__module__", "")
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._returns_count = _returns_count(function, options)
        self._window = check_two_way(options.window, self._returns_count, self.__name__)
        streams = self._returns_count == STREAMING and self._window >= 0
        self._window_bytes = options.window_bytes if streams else 0
        self._set_yields(options.num_objects_per_yield)
        self._shape = demand_of(options)
        self._retry_exceptions = b""
        #: Shared with the same function with other options.
        self._definition = Definition()
        #: As in there, once this one was called.
        self._defined_in: TaskContext | None = None
        self._id = FunctionId(b"")

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> NoReturn:
        """A remote function is not called directly.

        Raises:
            TypeError: Always; it says what to do.
        """
        raise TypeError(
            f"{self.__name__}() is a remote function: call {self.__name__}.remote() instead"
        )

    @overload
    def options(
        self,
        *,
        num_returns: Literal["streaming"] | None = None,
        num_objects_per_yield: Literal[1] | None = None,
        **options: Any,
    ) -> "RemoteFunction[P, R]": ...
    @overload
    def options(
        self,
        *,
        num_returns: Literal["streaming"] | None = None,
        num_objects_per_yield: int,
        **options: Any,
    ) -> "Fixed[P, AnyTuples]": ...
    @overload
    def options(
        self, *, num_returns: Literal["dynamic"], **options: Any
    ) -> "Fixed[P, Dynamic]": ...
    @overload
    def options(self, *, num_returns: Literal[0], **options: Any) -> "Fixed[P, None]": ...
    @overload
    def options(self, *, num_returns: Literal[1], **options: Any) -> "Fixed[P, ObjectRef[Any]]": ...
    @overload
    def options(self, *, num_returns: int, **options: Any) -> "Fixed[P, Several]": ...
    @overload
    def options(self, **options: Any) -> "RemoteFunction[P, R]": ...
    def options(self, **options: Any) -> Any:
        """Return the same function with other options; see ``TaskOptions``.

        Raises:
            ValueError: An option is unknown, out of range, or does not fit the function.
            TypeError: A value is of a wrong type.
        """
        made = RemoteFunction(self._function, replace(self._options, **check_options(options)))
        made._definition = self._definition
        return made

    @remote_type
    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a task and return at once.

        References among the top-level arguments are replaced by their values before the task runs.

        Returns:
            An ``ObjectRefGenerator`` for a streaming function, which is a ``RefTupleGenerator``
            with ``num_objects_per_yield``; a reference to a ``DynamicObjectRefGenerator`` for a
            dynamic one; else a reference, a list of references where ``num_returns`` is not 1, or
            None where it is 0.

        Raises:
            TypeError: The arguments do not fit the function.
            NestedRefError: The function closes over a generator.
            StreamLentError: An argument is a generator that was handed over already.
            ObjectLostError: An argument is a reference of a zgen that was shut down.
            ObjectStoreFullError: An argument is large, and there is no room for it.
            OutOfDiskError: And none can be made, for a full disk.
            NodeDiedError: The node is gone.
        """
        runtime = process.current or start.ensure()
        runtime.enter()
        if runtime.machine.owner.node_lost is not None:
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
            window_bytes=self._window_bytes,
            per_yield=self._per_yield,
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

    def _set_yields(self, per_yield: int) -> None:
        """Each yield makes so many items: choose what a call returns.

        Raises:
            ValueError: They are several, and it is no stream, or a two-way one.
        """
        count = self._returns_count
        self._per_yield = check_yields(per_yield, self._window, count, self.__name__)
        self._generator_class: type[ObjectRefGenerator[Any]] = ObjectRefGenerator
        if self._window < 0:
            self._generator_class = TwoWayGenerator
        elif per_yield > 1:
            self._generator_class = RefTupleGenerator

    def _define(self, runtime: Runtime) -> None:
        retriable = self._options.retry_exceptions
        self._retry_exceptions = serializer.dump_plain(retriable) if retriable else b""
        definition = self._definition
        if definition.root is not runtime.root:
            payload, refs = serializer.dump_with_refs(self._function)
            function = hash_function(payload)
            runtime.loop.post(DefineTaskFunction(function, payload, refs))
            definition.function = function
            definition.root = runtime.root
        self._id = definition.function  # not before: another thread may submit under it at once
        self._defined_in = runtime.root

    def _check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signature = self._signature
        if signature is None:
            signature = self._signature = _signature(self._function)
            self._positional = positional_counts(signature)
        least, most = self._positional
        if kwargs or not least <= len(args) <= most:
            signature.bind(*args, **kwargs)

    def _pack(
        self, runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Value, tuple[ObjectId, ...], list[ObjectRef[Any]]]:
        """Return the pickled arguments, what they refer to, and references made for that alone."""
        self._check_arguments(args, kwargs)
        if not (args or kwargs):
            return _NO_ARGUMENTS, (), []
        slots: list[ObjectId] = []
        records = runtime.machine.owner.refs.records

        def replaced(argument: Any) -> Any:
            if type(argument) is ObjectRef:
                if records.get(ObjectId(argument.binary())) is not argument.record:
                    raise ObjectLostError(argument.hex(), "its zgen was shut down")
                slots.append(ObjectId(argument.binary()))
                return serializer.Slot(len(slots) - 1)
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
            return self._generator_class(task, runtime)
        records = runtime.machine.owner.refs.records
        if count in (1, DYNAMIC):
            name = ObjectId(task + FIRST_RESULT)
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
    lack = f"{function!r} is not a generator function"
    return methods.returns_count(options.num_returns, methods.generates(function), lack)


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
