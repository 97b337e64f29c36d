"""What type checkers know of `.remote()`: parameters kept, results by what the function returns.

There is no such module where programs run: it is imported under ``TYPE_CHECKING`` alone, so that
a call costs nothing more for its types.

How it works: to type checkers ``remote`` is a descriptor. Its ``__get__`` is overloaded by what the
function returns, of a class that is invariant in that type: ``Iterable[T]`` says that it is a
generator function, and ``list[T]``, which is an ``Iterable[T]`` too, does not. What it gives is a
``Caller``. The first overload of that has the parameters as they are; the others take a reference
in place of an argument as well, by position. They hold what is called as one ``Callable``: mypy and
pyright both split that into its first parameters and the rest, and do not so with a ``ParamSpec``
that is bound already. It is no protocol, since mypy does not come to an end comparing two of them.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, Concatenate, Generic, Literal, NoReturn, ParamSpec, Protocol, overload

from typing_extensions import TypeVar

from zgen.actor_handle import ActorHandle
from zgen.actors import ActorClass
from zgen.dynamic import DynamicObjectRefGenerator
from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.ref_tuples import RefTupleGenerator
from zgen.remote_function import RemoteFunction
from zgen.typed_actor import TypedActor

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
T = TypeVar("T")
H = TypeVar("H")
K = TypeVar("K")
C = TypeVar("C", bound=type)
Instance = TypeVar("Instance")
TypedInstance = TypeVar("TypedInstance", bound=TypedActor)
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")
A6 = TypeVar("A6")
#: What is called, as a ``Callable``, and what ``remote`` returns for it.
F_co = TypeVar("F_co", covariant=True)
H_co = TypeVar("H_co", covariant=True)

#: What a call returns if ``num_returns`` is ``"dynamic"``, or a number.
Dynamic = ObjectRef[DynamicObjectRefGenerator[Any]]
Several = list[ObjectRef[Any]]
#: What a generator function returns that yields a ``T``.
Yields = Iterable[T] | AsyncIterable[T]
#: And what a call returns if ``num_objects_per_yield`` is 2, 3, 4, or a number of which nothing
#: else is known.
Pairs = RefTupleGenerator[tuple[ObjectRef[A1], ObjectRef[A2]]]
Triples = RefTupleGenerator[tuple[ObjectRef[A1], ObjectRef[A2], ObjectRef[A3]]]
Quadruples = RefTupleGenerator[tuple[ObjectRef[A1], ObjectRef[A2], ObjectRef[A3], ObjectRef[A4]]]
Tuples = RefTupleGenerator[tuple[ObjectRef[A1], ...]]
AnyTuples = RefTupleGenerator[tuple[ObjectRef[Any], ...]]

class Unknown:
    """What no function returns; only one without annotations seems to."""

class Caller(Generic[F_co, H_co]):
    """``remote`` of a function, a class or a method."""

    @overload
    def __call__(self: Caller[Callable[P, Any], H], *args: P.args, **kwargs: P.kwargs) -> H: ...
    @overload
    def __call__(
        self: Caller[Callable[Concatenate[A1, Q], Any], H],
        first: A1 | ObjectRef[A1],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> H: ...
    @overload
    def __call__(
        self: Caller[Callable[Concatenate[A1, A2, Q], Any], H],
        first: A1 | ObjectRef[A1],
        second: A2 | ObjectRef[A2],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> H: ...
    @overload
    def __call__(
        self: Caller[Callable[Concatenate[A1, A2, A3, Q], Any], H],
        first: A1 | ObjectRef[A1],
        second: A2 | ObjectRef[A2],
        third: A3 | ObjectRef[A3],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> H: ...
    @overload
    def __call__(
        self: Caller[Callable[Concatenate[A1, A2, A3, A4, Q], Any], H],
        first: A1 | ObjectRef[A1],
        second: A2 | ObjectRef[A2],
        third: A3 | ObjectRef[A3],
        fourth: A4 | ObjectRef[A4],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> H: ...
    @overload
    def __call__(
        self: Caller[Callable[Concatenate[A1, A2, A3, A4, A5, Q], Any], H],
        first: A1 | ObjectRef[A1],
        second: A2 | ObjectRef[A2],
        third: A3 | ObjectRef[A3],
        fourth: A4 | ObjectRef[A4],
        fifth: A5 | ObjectRef[A5],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> H: ...
    @overload
    def __call__(
        self: Caller[Callable[Concatenate[A1, A2, A3, A4, A5, A6, Q], Any], H],
        first: A1 | ObjectRef[A1],
        second: A2 | ObjectRef[A2],
        third: A3 | ObjectRef[A3],
        fourth: A4 | ObjectRef[A4],
        fifth: A5 | ObjectRef[A5],
        sixth: A6 | ObjectRef[A6],
        /,
        *args: Q.args,
        **kwargs: Q.kwargs,
    ) -> H: ...
    # What takes so many takes any number. (mypy takes any function for one of ``*args``.)
    @overload
    def __call__(
        self: Caller[Callable[[A1, A1, A1, A1, A1, A1, A1, A1, A1, A1], Any], H],
        /,
        *args: A1 | ObjectRef[A1],
    ) -> H: ...

class Calls(Generic[P, R]):
    """What has parameters ``P`` and returns an ``R`` where it runs; invariant in both."""

class Remote:
    """``remote`` of functions and methods."""

    # The last one stands for what the others are not, and so overlaps each of them.
    @overload
    def __get__(self, instance: Calls[P, Unknown], owner: Any) -> Callable[..., Any]: ...
    @overload
    def __get__(
        self, instance: Calls[P, Iterator[T]], owner: Any
    ) -> Caller[Callable[P, Any], ObjectRefGenerator[T]]: ...
    @overload
    def __get__(
        self, instance: Calls[P, Generator[T, Any, Any]], owner: Any
    ) -> Caller[Callable[P, Any], ObjectRefGenerator[T]]: ...
    @overload
    def __get__(
        self, instance: Calls[P, Iterable[T]], owner: Any
    ) -> Caller[Callable[P, Any], ObjectRefGenerator[T]]: ...
    @overload
    def __get__(
        self, instance: Calls[P, AsyncIterator[T]], owner: Any
    ) -> Caller[Callable[P, Any], ObjectRefGenerator[T]]: ...
    @overload
    def __get__(
        self, instance: Calls[P, AsyncGenerator[T, Any]], owner: Any
    ) -> Caller[Callable[P, Any], ObjectRefGenerator[T]]: ...
    @overload
    def __get__(
        self, instance: Calls[P, AsyncIterable[T]], owner: Any
    ) -> Caller[Callable[P, Any], ObjectRefGenerator[T]]: ...
    @overload
    def __get__(
        self, instance: Calls[P, R], owner: Any
    ) -> Caller[Callable[P, Any], ObjectRef[R]]: ...

class ClassRemote:
    """``remote`` of classes: a handle, typed as the class where that asks for it."""

    @overload
    def __get__(
        self, instance: ActorClass[Callable[P, TypedInstance]], owner: Any
    ) -> Caller[Callable[P, Any], TypedInstance]: ...
    @overload
    def __get__(
        self, instance: ActorClass[Callable[P, Instance]], owner: Any
    ) -> Caller[Callable[P, Any], ActorHandle[Instance]]: ...

class TypedRemote:
    """``remote`` of a decorated class to mypy, which takes it for the class still."""

    def __get__(
        self, instance: None, owner: Callable[P, TypedInstance]
    ) -> Caller[Callable[P, Any], TypedInstance]: ...

class TypedOptions:
    """``options`` of a decorated class to mypy."""

    def __get__(self, instance: None, owner: C) -> Callable[..., ActorClass[C]]: ...

def remote_type(method: Callable[..., Any]) -> Remote:
    """Type a method."""

def class_remote_type(method: Callable[..., Any]) -> ClassRemote:
    """Type a method."""

class Fixed(Generic[P, H_co]):
    """A function or a method whose ``num_returns`` was chosen."""

    @property
    def remote(self) -> Caller[Callable[P, Any], H_co]: ...
    def options(self, **options: Any) -> Any: ...
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> NoReturn: ...

class BoundMethod(Calls[P, R], Generic[P, K, R]):
    """A method as a handle has it, and as the instance itself, where a call returns a ``K``."""

    remote: Remote

    @overload
    def options(
        self,
        *,
        num_returns: Literal["streaming"] | None = None,
        num_objects_per_yield: Literal[1] | None = None,
        **options: Any,
    ) -> BoundMethod[P, K, R]: ...
    @overload
    def options(
        self,
        *,
        num_returns: Literal["streaming"] | None = None,
        num_objects_per_yield: int,
        **options: Any,
    ) -> Fixed[P, AnyTuples]: ...
    @overload
    def options(self, *, num_returns: Literal["dynamic"], **options: Any) -> Fixed[P, Dynamic]: ...
    @overload
    def options(self, *, num_returns: Literal[0], **options: Any) -> Fixed[P, None]: ...
    @overload
    def options(self, *, num_returns: Literal[1], **options: Any) -> Fixed[P, ObjectRef[Any]]: ...
    @overload
    def options(self, *, num_returns: int, **options: Any) -> Fixed[P, Several]: ...
    @overload
    def options(self, **options: Any) -> BoundMethod[P, K, R]: ...
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> K: ...

class FixedBoundMethod(Generic[P, K, H_co]):
    """The same, and its ``num_returns`` was chosen."""

    @property
    def remote(self) -> Caller[Callable[P, Any], H_co]: ...
    def options(self, **options: Any) -> Any: ...
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> K: ...

class Method(Generic[P, K, R]):
    """A method that ``zgen.method`` marked, in its class; ``R`` is what ``K`` is awaited for."""

    def __get__(self, instance: object, owner: Any) -> BoundMethod[P, K, R]: ...

class FixedMethod(Generic[P, K, H_co]):
    """The same, and its ``num_returns`` was chosen."""

    def __get__(self, instance: object, owner: Any) -> FixedBoundMethod[P, K, H_co]: ...

class MethodDecorator(Protocol):
    """``zgen.method(…)``."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Method[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Method[P, R, R]: ...

class FixedMethodDecorator(Protocol[H_co]):
    """``zgen.method(num_returns=…)``."""

    def __call__(
        self, function: Callable[Concatenate[Any, P], K], /
    ) -> FixedMethod[P, K, H_co]: ...

class Decorator(Protocol):
    """``zgen.remote(…)``."""

    @overload
    def __call__(self, cls: C, /) -> ActorClass[C]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> RemoteFunction[P, R]: ...

class FixedDecorator(Protocol[H_co]):
    """``zgen.remote(num_returns=…)``."""

    def __call__(self, function: Callable[P, Any], /) -> Fixed[P, H_co]: ...

class TupleDecorator(Protocol):
    """``zgen.remote(num_objects_per_yield=…)``, of a generator function."""

    @overload
    def __call__(
        self, function: Callable[P, Yields[tuple[A1, A2]]], /
    ) -> Fixed[P, Pairs[A1, A2]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Yields[tuple[A1, A2, A3]]], /
    ) -> Fixed[P, Triples[A1, A2, A3]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Yields[tuple[A1, A2, A3, A4]]], /
    ) -> Fixed[P, Quadruples[A1, A2, A3, A4]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Yields[tuple[A1, ...] | list[A1]]], /
    ) -> Fixed[P, Tuples[A1]]: ...
    @overload
    def __call__(self, function: Callable[P, Yields[Any]], /) -> Fixed[P, AnyTuples]: ...

class TupleMethodDecorator(Protocol):
    """``zgen.method(num_objects_per_yield=…)``, of a generator method."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Yields[tuple[A1, A2]]], /
    ) -> FixedMethod[P, Yields[tuple[A1, A2]], Pairs[A1, A2]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Yields[tuple[A1, A2, A3]]], /
    ) -> FixedMethod[P, Yields[tuple[A1, A2, A3]], Triples[A1, A2, A3]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Yields[tuple[A1, A2, A3, A4]]], /
    ) -> FixedMethod[P, Yields[tuple[A1, A2, A3, A4]], Quadruples[A1, A2, A3, A4]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Yields[tuple[A1, ...] | list[A1]]], /
    ) -> FixedMethod[P, Yields[tuple[A1, ...] | list[A1]], Tuples[A1]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Yields[Any]], /
    ) -> FixedMethod[P, Yields[Any], AnyTuples]: ...
