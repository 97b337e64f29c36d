"""`ActorClass`, actor options, `kill`, `get_actor`."""

from dataclasses import field, fields, replace
from inspect import getattr_static, isfunction
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from zgen.actor_handle import (
    ActorHandle,
    Description,
    check_group,
    check_method_options,
    parts_of,
)
from zgen.core.actor_events import CreateActor, FindActor, KillActorNow, NameActor
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import ActorExistsError, NameUnavailableError
from zgen.handles import ObjectRef
from zgen.ids import NO_ACTOR, ActorId, derive_task_id, handle_object
from zgen.io import methods, serializer
from zgen.io.methods import MethodFacts
from zgen.limits import ACTOR_CALLS_COUNT_MAX, ASYNC_CALLS_COUNT_DEFAULT
from zgen.options import PER_YIELD, TaskOptions, check_count, check_facts, check_options, meant
from zgen.remote_function import RemoteFunction, remote_type
from zgen.runtime import start
from zgen.runtime.process import Runtime
from zgen.slotted import slotted
from zgen.typed_actor import TypedActor
from zgen.wire.actor import ActorSettings

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from zgen.call_types import class_remote_type

    C_co = DefaultTypeVar("C_co", covariant=True, default=Any)
else:
    class_remote_type = remote_type
    C_co = TypeVar("C_co", covariant=True)


_PLACED: Final = ("scheduling_strategy", "label_selector")
_RESOURCES: Final = ("num_cpus", "num_gpus", "memory", "resources", *_PLACED)
_BUILT_IN: Final = (methods.CALL, methods.READY, methods.TERMINATE)


@slotted
class ActorOptions:
    """How an actor is run.

    Attributes:
        num_cpus: CPUs that it holds while it lives; none by default.
        num_gpus: GPUs likewise.
        memory: Bytes of memory likewise, as an accounting unit.
        resources: Other resources likewise, by name.
        scheduling_strategy: Where it lives, as for tasks.
        label_selector: Labels that its node has, as for tasks.
        max_restarts: How often it may be made anew after its worker's death; -1 for ever.
        max_task_retries: How often a call may run again after a failure of the system; -1 for ever.
        max_concurrency: Calls that run at a time: more than one in threads, or in the event loop if
            a method is async, where 1000 is the default.
        max_pending_calls: Calls of one process that may be pending; -1 for any number.
        max_pending_items: Items of all generators of one actor together that may be there without
            being taken by ``next``; None or -1 for any number. Those that run share that evenly,
            and each may have one item in any case.
        max_pending_bytes: Bytes of them likewise, as they are pickled.
        concurrency_groups: Groups of methods with a number of their own, by name.
        name: Name by which ``get_actor`` finds it from anywhere in the cluster; empty for none.
        namespace: Where the name counts, or None for that of this program.
        get_if_exists: Whether to return the actor that has the name already.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: dict[str, float] = field(default_factory=dict)
    scheduling_strategy: Any = None
    label_selector: dict[str, str] | None = None
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    max_pending_calls: int = -1
    max_pending_items: int | None = None
    max_pending_bytes: int | None = None
    concurrency_groups: dict[str, int] = field(default_factory=dict)
    name: str = ""
    namespace: str | None = None
    get_if_exists: bool = False


def check_actor_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return ``given`` options in the form in which ``ActorOptions`` keeps them.

    Raises:
        ValueError: An option is unknown, or its value is out of range.
        TypeError: A value is of a wrong type.
    """
    given = meant(given)
    if given.get(PER_YIELD) == 1:  # which asks for nothing
        del given[PER_YIELD]
    lifetime = given.pop("lifetime", None)
    if lifetime == "detached":
        raise ValueError("detached actors do not exist yet; an actor ends with its creator")
    if lifetime not in (None, "non_detached"):
        raise ValueError(f"lifetime must be None or 'non_detached', got {lifetime!r}")
    known = [each.name for each in fields(ActorOptions)]
    for name in given:
        if name not in known:
            raise ValueError(
                f"unknown option {name!r} for a remote class; known are {', '.join(known)}"
            )
    check_options({name: value for name, value in given.items() if name in _RESOURCES})
    kept = {name: value for name, value in given.items() if value is not None}
    for name, least in (("max_restarts", -1), ("max_task_retries", -1), ("max_pending_calls", -1)):
        if name in kept:
            check_count(name, kept[name], least)
    groups = kept.get("concurrency_groups", {})
    if not isinstance(groups, dict) or not all(isinstance(each, str) and each for each in groups):
        raise TypeError(f"concurrency_groups must be a dict of names to numbers, got {groups!r}")
    numbers = {f"concurrency_groups[{name!r}]": number for name, number in groups.items()}
    if "max_concurrency" in kept:
        numbers["max_concurrency"] = kept["max_concurrency"]
    for name, number in numbers.items():
        check_count(name, number, 1)
        if number > ACTOR_CALLS_COUNT_MAX:
            raise ValueError(f"{name} must be at most {ACTOR_CALLS_COUNT_MAX}, got {number}")
    for name in ("name", "namespace"):
        if not isinstance(kept.get(name, ""), str):
            raise TypeError(f"{name} must be a string, got {kept[name]!r}")
    return kept


class ActorClass(RemoteFunction[..., Any], Generic[C_co]):
    """A class whose instances are actors; made by ``@zgen.remote``."""

    def __init__(self, cls: type, options: ActorOptions) -> None:
        """Wrap ``cls``, of which nothing is looked at before it is used: it may not be whole."""
        super().__init__(
            cls,
            TaskOptions(
                num_cpus=options.num_cpus or 0,
                num_gpus=options.num_gpus,
                memory=options.memory,
                resources=options.resources,
                scheduling_strategy=options.scheduling_strategy,
                label_selector=options.label_selector,
                max_pending_items=options.max_pending_items,
                max_pending_bytes=options.max_pending_bytes,
            ),
        )
        self._class = cls
        self._chosen = options
        self._settings: ActorSettings | None = None

    def __call__(self, /, *args: Any, **kwargs: Any) -> NoReturn:
        """A remote class is not called directly.

        Raises:
            TypeError: Always; it says what to do.
        """
        raise TypeError(
            f"{self.__name__} is a remote class: make an actor with {self.__name__}.remote()"
        )

    def __getattr__(self, name: str) -> Any:
        """Return a constant, a class method or a static method of the plain class.

        Raises:
            AttributeError: It has none of this name, or it is a method of its actors.
        """
        cls = self.__dict__.get("_class")
        missing = object()
        found = missing if cls is None or name[:2] == "__" else getattr_static(cls, name, missing)
        if found is missing:
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        if isfunction(found):
            raise AttributeError(
                f"{self.__name__}.{name}() is a method of its actors: "
                f"handle = {self.__name__}.remote(), then handle.{name}.remote()"
            )
        return getattr(cls, name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        """A remote class is no base class.

        Raises:
            TypeError: Always; it says what to do.
        """
        raise TypeError(
            f"{self.__name__} is a remote class and cannot be inherited from; inherit from the "
            "plain class and make that remote"
        )

    def options(self, **options: Any) -> "ActorClass[C_co]":  # type: ignore[override]  # other options
        """Return the same class with other options; see ``ActorOptions``.

        Raises:
            ValueError: An option is unknown, out of range, or does not fit the class.
            TypeError: A value is of a wrong type.
        """
        made: ActorClass[C_co] = ActorClass(
            self._class, replace(self._chosen, **check_actor_options(options))
        )
        made._definition = self._definition
        made.check()
        return made

    @class_remote_type
    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Create an actor and return a handle at once.

        An error of the constructor is raised by the ``get`` of any call.

        Returns:
            An ``ActorHandle``.

        Raises:
            TypeError: The arguments do not fit the constructor.
            ActorExistsError: The name is taken; also a ``ValueError``.
            NameUnavailableError: This node is cut off from those that give names.
            NestedRefError: The class closes over a generator.
            StreamLentError: An argument is a generator that was handed over already.
            ObjectLostError: An argument is a reference of a zgen that was shut down.
            ObjectStoreFullError: An argument is large, and there is no room for it.
            OutOfDiskError: And none can be made, for a full disk.
            NodeDiedError: The node is gone.
        """
        chosen = self._chosen
        if chosen.get_if_exists and not chosen.name:
            raise ValueError("get_if_exists=True needs a name")
        runtime = start.ensure()
        runtime.enter()
        runtime.refuse_if_lost()
        if self._defined_in is not runtime.root:
            self._settings = None
            self._define(runtime)
        settings = self._settings
        if settings is None:
            settings = self._settings = self._make_settings(runtime)
        arguments, slots, puts = self._pack(runtime, args, kwargs)
        context = runtime.context
        task = derive_task_id(context.task, context.attempt, next(context.submits))
        actor = ActorId(task)
        if chosen.name:
            other = self._claim(runtime, actor, settings)
            if other is not None:
                return other
        spec = TaskSpec(
            task,
            self._id,
            f"{self.__name__}.__init__",
            1,
            arguments,
            slots,
            self._shape,
            chosen.max_restarts,
            b"",
            actor=actor,
            method="__init__",
        )
        runtime.loop.post(CreateActor(spec, settings))
        del puts  # the actor needs what they refer to, and keeps it
        name = handle_object(actor)
        ref: ObjectRef[None] = ObjectRef(name, runtime.machine.owner.refs.records[name])
        me = runtime.machine.session.identity.address
        return ActorHandle(actor, me, settings.description, ref)

    def check(self) -> None:
        """Check the methods and what was chosen for them.

        Raises:
            ValueError: Something does not fit the class.
        """
        self._describe()

    def __repr__(self) -> str:
        """Name the class."""
        return f"ActorClass({self.__module__}.{self.__qualname__})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the class and the options, so that a task can create actors."""
        return ActorClass, (self._class, self._chosen)

    def _claim(
        self, runtime: Runtime, actor: ActorId, settings: ActorSettings
    ) -> ActorHandle | None:
        """Take the name, or return the actor that has it, if that will do."""
        name, namespace, description = settings.name, settings.namespace, settings.description
        answer = runtime.questions.ask_name(
            lambda query: NameActor(query, namespace, name, actor, description)
        )
        if answer.refusal:
            raise NameUnavailableError(name, namespace, answer.refusal)
        if answer.actor == actor:
            return None
        if not self._chosen.get_if_exists:
            raise ActorExistsError(name, namespace)
        return ActorHandle(answer.actor, answer.creator, answer.description, None)

    def _make_settings(self, runtime: Runtime) -> ActorSettings:
        chosen, cls = self._chosen, self._class
        is_async = methods.is_async(cls)
        concurrency = chosen.max_concurrency or (ASYNC_CALLS_COUNT_DEFAULT if is_async else 1)
        namespace = runtime.questions.namespace if chosen.namespace is None else chosen.namespace
        return ActorSettings(
            chosen.max_restarts,
            chosen.max_task_retries,
            concurrency,
            tuple(sorted(chosen.concurrency_groups.items())),
            is_async,
            chosen.name,
            namespace if chosen.name else "",
            serializer.dump_plain(self._describe()),
            self.__name__,
            self._options.window,
            self._options.window_bytes,
        )

    def _describe(self) -> Description:
        chosen, cls = self._chosen, self._class
        groups = tuple(sorted(chosen.concurrency_groups))
        known: dict[str, MethodFacts] = {name: MethodFacts(1) for name in _BUILT_IN}
        for name, function in methods.members(cls):
            marked = check_method_options(getattr(function, methods.MARK, {}))
            known[name] = methods.facts_of(cls, name, function, marked)
            check_group(cls.__name__, known[name].group, groups)
            check_facts(known[name], f"{cls.__name__}.{name}")
        return Description(
            cls.__name__,
            self._id,
            known,
            chosen.max_task_retries,
            chosen.max_pending_calls,
            groups,
            (self._options.window, self._options.window_bytes),
        )


def make_remote_class(cls: type, options: dict[str, Any]) -> ActorClass:
    """Make a class remote; see ``remote``.

    Raises:
        ValueError: An option is unknown, out of range, or does not fit the class.
        TypeError: A value is of a wrong type.
    """
    made = ActorClass(cls, ActorOptions(**check_actor_options(options)))
    made.check()
    return made


def kill(actor: ActorHandle | TypedActor, *, no_restart: bool = True) -> None:
    """End an actor at once, whatever it runs; its calls fail.

    Args:
        actor: A handle of it.
        no_restart: Whether that is its end; else it counts as a crash, and ``max_restarts`` says
            whether it is made anew.

    Raises:
        ValueError: ``actor`` is no handle.
        NodeDiedError: The node is gone.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"zgen.kill() takes an ActorHandle, got {actor!r}")
    runtime = start.ensure()
    runtime.enter()
    runtime.refuse_if_lost()
    runtime.loop.post(KillActorNow(*parts_of(actor), no_restart))


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """Return a handle of the actor that has a name; it does not keep the actor alive.

    Args:
        name: Its name.
        namespace: Where the name counts, or None for that of this program.

    Raises:
        ValueError: No actor has the name.
        NameUnavailableError: This node is cut off from those that know.
        NodeDiedError: The node is gone.
    """
    if not name or type(name) is not str:
        raise ValueError(f"the name of an actor is a string that is not empty, got {name!r}")
    runtime = start.ensure()
    runtime.enter()
    runtime.refuse_if_lost()
    where = runtime.questions.namespace if namespace is None else namespace
    answer = runtime.questions.ask_name(lambda query: FindActor(query, where, name))
    if answer.refusal:
        raise NameUnavailableError(name, where, answer.refusal)
    if answer.actor == NO_ACTOR:
        raise ValueError(
            f"no actor has the name {name!r} in namespace {where!r}: it was not "
            "created yet, it died, or its name counts in another namespace"
        )
    return ActorHandle(answer.actor, answer.creator, answer.description, None)
