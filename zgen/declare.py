"""`@remote` and `@method`: functions and classes whose calls run elsewhere."""

import inspect
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, overload

from zgen import actors
from zgen.actors import ActorClass, make_remote_class
from zgen.remote_function import RemoteFunction, make_remote_function

P = ParamSpec("P")
R = TypeVar("R")

method: Final = actors.method


@overload
def remote(cls: type, /) -> ActorClass: ...
@overload
def remote(function: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(**options: Any) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...
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
