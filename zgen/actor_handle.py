"""`ActorHandle`, `ActorMethod`: calls of an actor, from any process that has a handle."""

import functools
import inspect
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

from zgen.core.actor_events import CallActor
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import PendingCallsLimitExceeded
from zgen.handles import ObjectRef
from zgen.ids import ActorId, FunctionId, derive_task_id
from zgen.io import methods, serializer
from zgen.io.methods import MethodFacts, positional_counts
from zgen.options import (
    FLOW,
    PENDING_BYTES,
    PENDING_ITEMS,
    PER_YIELD,
    check_count,
    check_options,
    meant,
    windows_in,
    windows_of,
)
from zgen.remote_function import RemoteFunction, remote_type
from zgen.runtime import process, start
from zgen.slotted import slotted
from zgen.wire.schema import to_array
from zgen.wire.session import Address

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from zgen.call_types import Calls, Dynamic, Fixed, Several

    I_co = DefaultTypeVar("I_co", covariant=True, default=Any)
else:
    Calls = Generic
    I_co = TypeVar("I_co", covariant=True)

P = ParamSpec("P")
R = TypeVar("R")

#: Classes whose descriptions a process keeps ready.
_DESCRIPTIONS_COUNT_MAX: Final = 256
#: What ``zgen.method`` and ``handle.method.options`` take.
METHOD_OPTIONS: Final = (
    *("num_returns", "concurrency_group", "max_task_retries", "retry_exceptions"),
    *FLOW,
)


#: Stands for a signature that is not known.
_ANYTHING: Final = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


@slotted
class Description:
    """What a handle knows of its actor's class.

    Attributes:
        name: Name of the class.
        cls: Hash of its pickle.
        methods: Its methods.
        max_task_retries: How often calls may run again, where the method does not say.
        max_pending_calls: How many calls of one process may be pending; -1 for any number.
        groups: Its concurrency groups.
        windows: Items and bytes of all streams of one actor that may wait; 0 for any number.
    """

    name: str
    cls: FunctionId
    methods: dict[str, MethodFacts]
    max_task_retries: int
    max_pending_calls: int
    groups: tuple[str, ...]
    windows: tuple[int, int] = (0, 0)


class MethodCalls(RemoteFunction[..., Any]):
    """One method as a remote function: what its calls have in common, whoever is called."""

    def __init__(self, description: Description, name: str, facts: MethodFacts) -> None:
        """Made by zgen only."""
        self.__name__ = name
        self._signature = facts.signature or _ANYTHING
        self._positional = positional_counts(self._signature)
        self._returns_count = facts.returns_count
        self.facts = facts
        self._description = description
        self._label = f"{description.name}.{name}"
        self._id = methods.method_id(description.cls, name)
        retries = facts.max_task_retries
        self._retries_max = description.max_task_retries if retries is None else retries
        self._window, self._window_bytes = windows_of(name, facts, *description.windows)
        self._set_yields(facts.per_yield)

    def submit(self, handle: "ActorHandle", args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the method of an actor and return at once; see ``ActorMethod.remote``."""
        runtime = process.current or start.ensure()
        runtime.enter()
        if runtime.machine.owner.node_lost is not None:
            runtime.refuse_if_lost()
        arguments, slots, puts = self._pack(runtime, args, kwargs)
        actor, creator = parts_of(handle)
        context = runtime.context
        task = derive_task_id(context.task, context.attempt, next(context.submits))
        spec = TaskSpec(
            task,
            self._id,
            self._label,
            self._returns_count,
            arguments,
            slots,
            (),
            self._retries_max,
            self.facts.retry_exceptions,
            self._window,
            actor=actor,
            method=self.__name__,
            group=self.facts.group,
            parent=context.task,
            parent_attempt=context.attempt,
            window_bytes=self._window_bytes,
            per_yield=self._per_yield,
        )
        limit = self._description.max_pending_calls
        if 0 <= limit <= runtime.machine.owner.actors.pending_count(actor):
            text = f"{limit} calls of {handle!r} are pending, as many as max_pending_calls allows"
            raise PendingCallsLimitExceeded("max_pending_calls", f"{text}; get some of them first")
        runtime.loop.post(CallActor(spec, creator))
        del puts  # the call needs what they refer to, and keeps it
        return self._handles(runtime, task)

    def __repr__(self) -> str:
        """Name the method."""
        return f"MethodCalls({self._label})"

    def changed(self, options: dict[str, Any], name: str) -> "MethodCalls":
        """Return the same method called in another way."""
        chosen = {**check_method_options(options)}
        if not isinstance(name, str):  # its actor could not read the call
            raise TypeError(f"name must be a string, got {name!r}")
        facts = MethodFacts(
            methods.returns_count(
                chosen["num_returns"],
                self.facts.generates,
                f"{self._label}() is not a generator method",
            )
            if "num_returns" in chosen
            else self.facts.returns_count,
            self.facts.generates,
            chosen.get("concurrency_group", self.facts.group),
            chosen.get("max_task_retries", self.facts.max_task_retries),
            chosen.get("retry_exceptions", self.facts.retry_exceptions),
            chosen.get(PENDING_ITEMS, self.facts.window),
            chosen.get(PENDING_BYTES, self.facts.window_bytes),
            self.facts.signature,
            chosen.get(PER_YIELD, self.facts.per_yield),
        )
        check_group(self._description.name, facts.group, self._description.groups)
        made = MethodCalls(self._description, self.__name__, facts)
        made._label = name or self._label  # one of this class
        return made


def check_method_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return options of a method as they are kept.

    Raises:
        ValueError: An option is unknown, or its value is out of range.
        TypeError: A value is of a wrong type.
    """
    given = meant(given)
    for name in given:
        if name not in METHOD_OPTIONS:
            known = ", ".join(METHOD_OPTIONS)
            raise ValueError(f"unknown option {name!r} for a method; known are {known}")
    kept = {name: value for name, value in given.items() if value is not None}
    if "num_returns" in kept:
        kept["num_returns"] = check_options({"num_returns": kept["num_returns"]})["num_returns"]
    if "max_task_retries" in kept:
        check_count("max_task_retries", kept["max_task_retries"], -1)
    if not isinstance(kept.get("concurrency_group", ""), str):
        raise TypeError(f"concurrency_group must be a string, got {kept['concurrency_group']!r}")
    kept = windows_in(kept)
    if "retry_exceptions" in kept:
        retriable = check_options({"retry_exceptions": kept["retry_exceptions"]})
        allowed = retriable["retry_exceptions"]
        kept["retry_exceptions"] = serializer.dump_plain(allowed) if allowed else b""
    return kept


def check_group(name: str, group: str, groups: tuple[str, ...]) -> None:
    """Check that a class has a concurrency group.

    Raises:
        ValueError: It has none of this name.
    """
    if group and group not in groups:
        known = ", ".join(groups) or "none"
        raise ValueError(f"{name} has no concurrency group {group!r}; it has: {known}")


class ActorMethod(Calls[P, R]):
    """A method of one actor: call it by ``.remote()``."""

    __slots__ = ("_calls", "_handle")

    def __init__(self, handle: "ActorHandle", calls: MethodCalls) -> None:
        """Made by zgen only."""
        self._handle = handle
        self._calls = calls

    @remote_type
    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the method and return at once.

        Calls of one process run in the order in which they were made, if the actor is a regular
        one. References among the top-level arguments are replaced by their values before it runs.

        Returns:
            An ``ObjectRefGenerator`` for a generator method, or a reference to a
            ``DynamicObjectRefGenerator`` if ``num_returns`` says so; else a reference, a list of
            references where ``num_returns`` is not 1, or None where it is 0.

        Raises:
            TypeError: The arguments do not fit the method.
            PendingCallsLimitExceeded: As many calls as ``max_pending_calls`` allows are pending.
            StreamLentError: An argument is a generator that was handed over already.
            ObjectLostError: An argument is a reference of a zgen that was shut down.
            ObjectStoreFullError: An argument is large, and there is no room for it.
            OutOfDiskError: And none can be made, for a full disk.
            NodeDiedError: The node is gone.
        """
        return self._calls.submit(self._handle, args, kwargs)

    @overload
    def options(
        self,
        *,
        name: str = "",
        num_returns: Literal["streaming"] | None = None,
        **options: Any,
    ) -> "ActorMethod[P, R]": ...
    @overload
    def options(
        self, *, name: str = "", num_returns: Literal["dynamic"], **options: Any
    ) -> "Fixed[P, Dynamic]": ...
    @overload
    def options(
        self, *, name: str = "", num_returns: Literal[0], **options: Any
    ) -> "Fixed[P, None]": ...
    @overload
    def options(
        self, *, name: str = "", num_returns: Literal[1], **options: Any
    ) -> "Fixed[P, ObjectRef[Any]]": ...
    @overload
    def options(
        self, *, name: str = "", num_returns: int, **options: Any
    ) -> "Fixed[P, Several]": ...
    @overload
    def options(self, *, name: str = "", **options: Any) -> "ActorMethod[P, R]": ...
    def options(self, *, name: str = "", **options: Any) -> Any:
        """Return the same method with other options.

        Args:
            name: What messages call it.
            options: As ``zgen.method`` takes them.

        Raises:
            ValueError: An option is unknown, out of range, or does not fit the method.
            TypeError: A value is of a wrong type.
        """
        return ActorMethod(self._handle, self._calls.changed(options, name))

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        """A method of an actor is not called directly.

        Raises:
            TypeError: Always; it says what to do.
        """
        name = self._calls.__name__
        raise TypeError(f"{name}() is a method of an actor: call handle.{name}.remote() instead")

    def __repr__(self) -> str:
        """Name the method and its actor."""
        return f"ActorMethod({self._calls.__name__} of {self._handle!r})"


class ActorHandle(Generic[I_co]):
    """A counted handle on one actor: it lives as long as one of them does, or a call is pending.

    Its attributes are the actor's methods. A handle from ``get_actor``, or from
    ``get_runtime_context().current_actor``, does not count.
    """

    # Names that no method has: every other one may be a method's.
    __slots__ = (
        "__weakref__",
        "_zgen_actor",
        "_zgen_creator",
        "_zgen_description",
        "_zgen_ref",
    )

    def __init__(
        self, actor: ActorId, creator: Address, description: bytes, ref: ObjectRef[None] | None
    ) -> None:
        """Made by zgen only; ``ref`` refers to the handle object, or is None."""
        self._zgen_actor = actor
        self._zgen_creator = creator
        self._zgen_description = description
        self._zgen_ref = ref

    def __getattr__(self, name: str) -> ActorMethod[..., Any]:
        """Return a method.

        Raises:
            AttributeError: The class has no such method.
        """
        if name in ActorHandle.__slots__:  # a handle that is not made yet
            raise AttributeError(name)
        calls = _calls_of(self._zgen_description).get(name)
        if calls is None:
            raise AttributeError(f"{self!r} has no method {name!r}")
        return ActorMethod(self, calls)

    def __dir__(self) -> list[str]:
        """List the methods too."""
        return [*super().__dir__(), *_calls_of(self._zgen_description)]

    def __hash__(self) -> int:
        """Hash by id."""
        return hash(self._zgen_actor)

    def __eq__(self, other: object) -> bool:
        """Compare by id."""
        return isinstance(other, ActorHandle) and self._zgen_actor == other._zgen_actor

    def __repr__(self) -> str:
        """Name the class and the actor."""
        return f"Actor({described(self._zgen_description).name}, {self._zgen_actor.hex()})"

    def __deepcopy__(self, memo: object = None) -> "ActorHandle[I_co]":
        """Return itself, which never changes: what holds handles can be copied, not an actor."""
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by id and description; it counts where it is unpickled."""
        creator = self._zgen_creator
        where = to_array(creator)
        return _unpickled, (self._zgen_actor, where, self._zgen_description, self._zgen_ref)

    @property
    def _actor_id(self) -> str:
        """Return the id as hex digits, under Ray's name."""
        return self._zgen_actor.hex()


def parts_of(handle: ActorHandle) -> tuple[ActorId, Address]:
    """Return the id of a handle's actor, and who supervises it."""
    return handle._zgen_actor, handle._zgen_creator  # noqa: SLF001  # named to be out of the way


def _unpickled(
    actor: ActorId, where: tuple[Any, ...], description: bytes, ref: ObjectRef[None] | None
) -> ActorHandle:
    return ActorHandle(actor, Address(*where), description, ref)


@functools.lru_cache(_DESCRIPTIONS_COUNT_MAX)
def described(description: bytes) -> Description:
    """Return the description in a pickle of one."""
    found: Description = serializer.load_plain(description)
    return found


@functools.lru_cache(_DESCRIPTIONS_COUNT_MAX)
def _calls_of(description: bytes) -> dict[str, MethodCalls]:
    known = described(description)
    return {name: MethodCalls(known, name, facts) for name, facts in known.methods.items()}
