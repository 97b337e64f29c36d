"""`ActorClass`, actor options, `kill`, `get_actor`."""

from dataclasses import replace
from inspect import getattr_static, isfunction
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from zgen.actor_handle import (
    ActorHandle,
    Description,
    check_group,
    check_method_options,
    parts_of,
)
from zgen.actor_options import DETACHED, ActorOptions, check_actor_options
from zgen.core.actor_events import CreateActor, DetachNow, FindActor, KillActorNow, NameActor
from zgen.core.task_spec import TaskSpec
from zgen.exceptions import ActorExistsError, NameUnavailableError
from zgen.handles import ObjectRef
from zgen.ids import NO_ACTOR, ActorId, derive_task_id, handle_object
from zgen.io import methods, serializer
from zgen.io.methods import MethodFacts
from zgen.limits import ASYNC_CALLS_COUNT_DEFAULT
from zgen.options import TaskOptions, check_facts
from zgen.remote_function import RemoteFunction, remote_type
from zgen.runtime import start
from zgen.runtime.process import Runtime
from zgen.typed_actor import TypedActor
from zgen.wire.actor import CHARTER_BYTES_MAX, ActorSettings

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from zgen.call_types import class_remote_type

    C_co = DefaultTypeVar("C_co", covariant=True, default=Any)
else:
    class_remote_type = remote_type
    C_co = TypeVar("C_co", covariant=True)


_BUILT_IN: Final = (methods.CALL, methods.READY, methods.TERMINATE)


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
        is_detached = chosen.lifetime == DETACHED
        if is_detached and not chosen.name:
            raise ValueError(
                "a detached actor needs a name, by which alone it is found when its creator is "
                "gone: .options(name=..., lifetime='detached')"
            )
        runtime = start.ensure()
        runtime.enter()
        runtime.refuse_if_lost()
        if is_detached:
            return self._detach(runtime, args, kwargs)
        return self._create(runtime, args, kwargs)

    def keep(self, restarts: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle:
        """Create a detached actor that lives as long as this process; the process is its keeper.

        Args:
            restarts: How often the actor was created again before.
            args: Arguments of its constructor.
            kwargs: The same by name.

        Raises:
            ActorExistsError: Another actor has the name.
            NameUnavailableError: This node is cut off from those that give names.
        """
        left = self._chosen.max_restarts
        if left >= 0:
            left = max(0, left - restarts)
        made: ActorClass[C_co] = ActorClass(self._class, replace(self._chosen, max_restarts=left))
        return made._create(start.ensure(), args, kwargs)

    def _create(
        self, runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorHandle:
        chosen = self._chosen
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

    def _detach(
        self, runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorHandle:
        """Have a process that lives as long as its node create the actor."""
        chosen = self._chosen
        self._check_arguments(args, kwargs)
        name, namespace = chosen.name, self._namespace(runtime)
        kept = ActorClass(self._class, replace(chosen, namespace=namespace, get_if_exists=False))
        payload = serializer.dump_for_keeper(self._class, (kept, args, kwargs))
        if len(payload) > CHARTER_BYTES_MAX:
            raise ValueError(
                f"{self.__name__} and its arguments take {len(payload)} bytes, and of a detached "
                f"actor three nodes keep at most {CHARTER_BYTES_MAX}: pass large values by a call"
            )
        answer = runtime.questions.ask_name(
            lambda query: DetachNow(query, namespace, name, payload, chosen.max_restarts)
        )
        if answer.refusal:
            raise NameUnavailableError(name, namespace, answer.refusal)
        if not answer.is_new and not chosen.get_if_exists:
            raise ActorExistsError(name, namespace)
        return ActorHandle(answer.actor, answer.creator, answer.description, None)

    def _namespace(self, runtime: Runtime) -> str:
        chosen = self._chosen.namespace
        return runtime.questions.namespace if chosen is None else chosen

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
        return ActorSettings(
            chosen.max_restarts,
            chosen.max_task_retries,
            concurrency,
            tuple(sorted(chosen.concurrency_groups.items())),
            is_async,
            chosen.name,
            self._namespace(runtime) if chosen.name else "",
            serializer.dump_plain(self._describe()),
            self.__name__,
            self._options.window,
            self._options.window_bytes,
            chosen.lifetime == DETACHED,
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
