"""What methods a class of actors has, and how an instance's are found: on the class, by descriptor.

Rules of this file: it looks at classes and calls nothing of theirs. A field of an instance never
hides a method of the same name.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, Final

from zgen.ids import ID_BYTES, FunctionId
from zgen.slotted import slotted
from zgen.wire.task import DYNAMIC, STREAMING

#: Where ``zgen.method`` leaves what it was given.
MARK: Final = "__zgen_method__"
#: What every actor has besides its own methods, as Ray's have.
CALL: Final = "__ray_call__"
READY: Final = "__ray_ready__"
TERMINATE: Final = "__ray_terminate__"


@slotted
class MethodFacts:
    """How calls of one method are made, as a handle knows it.

    Attributes:
        returns_count: Number of results, or ``STREAMING`` or ``DYNAMIC``.
        generates: Whether it is a generator function, async or not.
        group: Concurrency group that it runs in; empty for the actor's own.
        max_task_retries: How often a call may run again, or None for what the actor says.
        retry_exceptions: Pickle of what may be retried; empty for nothing.
        window: Items of a stream that may be there without being taken; 0 for any number.
        window_bytes: Bytes likewise.
        signature: What a call must fit, without the instance; None where it is not known.
        per_yield: Items that each yield of a stream makes.
    """

    returns_count: int
    generates: bool = False
    group: str = ""
    max_task_retries: int | None = None
    retry_exceptions: bytes = b""
    window: int = 0
    window_bytes: int = 0
    signature: inspect.Signature | None = None
    per_yield: int = 1


def method_id(cls: FunctionId, name: str) -> FunctionId:
    """Name a method of a class that was pickled under ``cls``."""
    return FunctionId(blake2b(cls + name.encode(), digest_size=ID_BYTES).digest())


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the names and the plain functions of all methods of ``cls`` but its constructor."""
    for name in dir(cls):
        found = inspect.getattr_static(cls, name)
        function = getattr(found, "__func__", found)  # of static and class methods
        if name != "__init__" and inspect.isfunction(inspect.unwrap(function)):
            yield name, function


def is_async(cls: type) -> bool:
    """Return whether a method makes actors of this class run in an event loop."""
    return any(
        inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        for _, function in members(cls)
    )


def generates(function: Any) -> bool:
    """Return whether calls of ``function`` return a generator, async or not."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def returns_count(chosen: Any, generates: bool, lack: str) -> int:
    """Return how many results a call has, or ``STREAMING`` or ``DYNAMIC``.

    Args:
        chosen: ``num_returns`` as it was checked.
        generates: Whether what is called is a generator function, async or not.
        lack: What to say if it is not, and has to be.

    Raises:
        ValueError: It has to be.
    """
    if chosen is None:
        return STREAMING if generates else 1
    if isinstance(chosen, int):
        return chosen
    if not generates:
        raise ValueError(f'num_returns="{chosen}", but {lack}')
    return STREAMING if chosen == "streaming" else DYNAMIC


def facts_of(cls: type, name: str, function: Any, chosen: dict[str, Any]) -> MethodFacts:
    """Return how calls of a method are made, from its kind and what ``zgen.method`` was given."""
    streams = generates(function)
    lack = f"{cls.__name__}.{name}() is not a generator method"
    return MethodFacts(
        returns_count(chosen.get("num_returns"), streams, lack),
        streams,
        chosen.get("concurrency_group") or "",
        chosen.get("max_task_retries"),
        chosen.get("retry_exceptions") or b"",
        chosen.get("max_pending_items") or 0,
        chosen.get("max_pending_bytes") or 0,
        _signature(cls, name),
        chosen.get("num_objects_per_yield") or 1,
    )


def _signature(cls: type, name: str) -> inspect.Signature | None:
    """Return what a call must fit; annotations and defaults of a handle stay where the class is."""
    found = inspect.getattr_static(cls, name)
    try:
        signature = inspect.signature(getattr(found, "__func__", found))
    except (TypeError, ValueError):
        return None
    parameters = list(signature.parameters.values())
    bound = not isinstance(found, staticmethod)
    variadic = parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    if bound and parameters and not variadic:
        parameters = parameters[1:]
    plain = [
        each.replace(
            annotation=each.empty, default=each.empty if each.default is each.empty else None
        )
        for each in parameters
    ]
    return inspect.Signature(plain)


def bound_methods(instance: Any, cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the names and the callables of all methods of an actor."""
    for name, _ in members(cls):
        found = inspect.getattr_static(cls, name)
        yield name, found.__get__(instance, cls) if hasattr(found, "__get__") else found


def positional_counts(signature: inspect.Signature) -> tuple[int, int]:
    """Return how many positional arguments fit without any other, at least and at most.

    What lies outside may still fit, or says better why it does not, by ``Signature.bind``.
    """
    least = most = 0
    for parameter in signature.parameters.values():
        is_required = parameter.default is inspect.Parameter.empty
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            most = sys.maxsize
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if is_required:
                return 0, -1
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            least += is_required
            most += 1
    return least, most
