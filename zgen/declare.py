"""`@remote` and `@method`: functions and classes whose calls run elsewhere."""

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from zgen.actor_handle import METHOD_OPTIONS, check_method_options
from zgen.actors import ActorClass, make_remote_class
from zgen.io import methods
from zgen.remote_function import RemoteFunction, make_remote_function

if TYPE_CHECKING:
    from zgen.call_types import (
        Decorator,
        Dynamic,
        FixedDecorator,
        FixedMethodDecorator,
        Method,
        MethodDecorator,
        Several,
        TupleDecorator,
        TupleMethodDecorator,
    )
    from zgen.handles import ObjectRef

C = TypeVar("C", bound=type)
P = ParamSpec("P")
R = TypeVar("R")


# A class can be called too, and so fits the second one as well.
@overload
def remote(cls: C, /) -> ActorClass[C]: ...
@overload
def remote(function: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(
    *,
    num_returns: Literal["streaming"] | None = None,
    num_objects_per_yield: Literal[1] | None = None,
    **options: Any,
) -> "Decorator": ...
@overload
def remote(
    *,
    num_returns: Literal["streaming"] | None = None,
    num_objects_per_yield: int,
    **options: Any,
) -> "TupleDecorator": ...
@overload
def remote(*, num_returns: Literal["dynamic"], **options: Any) -> "FixedDecorator[Dynamic]": ...
@overload
def remote(*, num_returns: Literal[0], **options: Any) -> "FixedDecorator[None]": ...
@overload
def remote(*, num_returns: Literal[1], **options: Any) -> "FixedDecorator[ObjectRef[Any]]": ...
@overload
def remote(*, num_returns: int, **options: Any) -> "FixedDecorator[Several]": ...
@overload
def remote(**options: Any) -> "Decorator": ...
def remote(*args: Any, **options: Any) -> Any:
    """Make a function remote, whose calls then run in workers, or a class, whose instances do.

    Args:
        args: The function or class, when used as a plain decorator.
        options: See ``TaskOptions`` and ``ActorOptions``, when used as
            ``@zgen.remote(num_cpus=2)``.

    Raises:
        ValueError: An option is unknown, out of range, or does not fit.
        TypeError: It is neither a function nor a class.
    """
    if (args and options) or len(args) > 1:
        raise TypeError("use @zgen.remote, or @zgen.remote(num_cpus=…) with keywords only")
    if args:
        return _make_remote(args[0], {})
    return lambda target: _make_remote(target, options)


def _make_remote(target: Any, options: dict[str, Any]) -> Any:
    if inspect.isclass(target):
        return make_remote_class(target, options)
    return make_remote_function(target, options)


@overload
def method(
    function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
) -> "Method[P, Coroutine[Any, Any, R], R]": ...
@overload
def method(function: Callable[Concatenate[Any, P], R], /) -> "Method[P, R, R]": ...
@overload
def method(
    *,
    num_returns: Literal["streaming"] | None = None,
    num_objects_per_yield: Literal[1] | None = None,
    **options: Any,
) -> "MethodDecorator": ...
@overload
def method(
    *,
    num_returns: Literal["streaming"] | None = None,
    num_objects_per_yield: int,
    **options: Any,
) -> "TupleMethodDecorator": ...
@overload
def method(
    *, num_returns: Literal["dynamic"], **options: Any
) -> "FixedMethodDecorator[Dynamic]": ...
@overload
def method(*, num_returns: Literal[0], **options: Any) -> "FixedMethodDecorator[None]": ...
@overload
def method(
    *, num_returns: Literal[1], **options: Any
) -> "FixedMethodDecorator[ObjectRef[Any]]": ...
@overload
def method(*, num_returns: int, **options: Any) -> "FixedMethodDecorator[Several]": ...
@overload
def method(**options: Any) -> "MethodDecorator": ...
def method(function: Any = None, /, **options: Any) -> Any:
    """Say how calls of a method are made, in the class body of an actor.

    Type checkers know the parameters and the result of a method that is marked, also by a plain
    ``@zgen.method``, if its class is a ``TypedActor``.

    Args:
        function: The method, when used as a plain decorator.
        options: ``num_returns``, ``concurrency_group``, ``max_task_retries``,
            ``retry_exceptions``, ``max_pending_items``, ``max_pending_bytes``, ``two_way``,
            ``num_objects_per_yield``.

    Raises:
        ValueError: An option is unknown, or its value is out of range.
        TypeError: A value is of a wrong type, or there is neither a method nor a keyword.
    """
    if callable(function) and not options:
        return function
    if function is not None or not options:
        raise TypeError(f"use @zgen.method(…) with keywords: {', '.join(METHOD_OPTIONS)}")
    check_method_options(options)

    def mark(function: Any) -> Any:
        setattr(function, methods.MARK, {**getattr(function, methods.MARK, {}), **options})
        return function

    return mark
