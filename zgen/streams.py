"""`merge`, `zipped`, `mapped`, `timed`, `tracked`, `fan_out`: streams put together and apart.

Rules of this file: what it does can be done with ``wait`` and ``next``, and nothing else is used.
Each is a generator: who leaves it early closes it, and it lets go of the streams that it was given.
That frees what was not taken, unless somebody else holds them, and their bodies run on to their
ends. (Where a generator lets go of a stream is where it would close it.)
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar, overload

from zgen.api import wait
from zgen.fanning import fan_out as fan_out
from zgen.handles import ObjectRef, ObjectRefGenerator
from zgen.io import clock
from zgen.limits import MERGE_LOOK_ITEMS_COUNT
from zgen.ref_tuples import Refs, RefTupleGenerator

T = TypeVar("T")
R = TypeVar("R")

#: What a source gives that has no more.
END: Final[Any] = object()


# -- merge -----------------------------------------------------------------------------------------
@overload
def merge(  # type: ignore[overload-overlap]  # tuples in place of references
    *streams: RefTupleGenerator[Refs],
) -> Generator[Refs, None, None]: ...
@overload
def merge(*streams: ObjectRefGenerator[T]) -> Generator[ObjectRef[T], None, None]: ...
def merge(*streams: ObjectRefGenerator[Any]) -> Generator[Any, None, None]:
    """Yield the references of several streams as their items become ready.

    Those of one stream come in its order, and no stream waits for ever while another is fast. All
    streams are looked at together, and once for all the items that are there then.

    Raises:
        TypeError: One of them is no ``ObjectRefGenerator``.
        ValueError: One is given twice.
    """
    return _merge(checked_streams(streams))


def _merge(waiting: list[ObjectRefGenerator[T]]) -> Generator[ObjectRef[T], None, None]:
    ready: deque[ObjectRefGenerator[T]] = deque()
    taken = 0
    while waiting or ready:
        if waiting and (not ready or taken >= max(len(waiting), MERGE_LOOK_ITEMS_COUNT)):
            if not ready:
                wait(waiting)
            found, waiting = wait(waiting, num_returns=len(waiting), timeout=0)
            ready.extend(found)
            taken = 0
        stream = ready.popleft()
        ref = next(stream, None)
        if ref is not None:
            yield ref
            taken += 1
            (ready if stream.next_ready() else waiting).append(stream)
        del stream, ref


def checked_streams(streams: tuple[ObjectRefGenerator[T], ...]) -> list[ObjectRefGenerator[T]]:
    """Return ``streams`` as a list, once it is known that they can be merged."""
    for stream in streams:
        if not isinstance(stream, ObjectRefGenerator):
            raise TypeError(f"merge takes ObjectRefGenerators, got {type(stream).__name__}")
    if len(frozenset(map(id, streams))) != len(streams):
        raise ValueError("merge takes each stream once")
    return list(streams)


# -- zip -------------------------------------------------------------------------------------------
def zipped(*streams: Iterable[T], strict: bool = False) -> Generator[tuple[T, ...], None, None]:
    """Yield the first references of all streams as one tuple, then the second ones, and so on.

    It ends with the first stream that does.

    Raises:
        ValueError: With ``strict``, if another one goes on. What came before it was yielded.
    """
    yield from zip(*streams, strict=strict)


# -- map -------------------------------------------------------------------------------------------
def mapped(
    submit: Callable[[Any], ObjectRef[R]],
    source: Iterable[Any],
    *,
    in_flight: int,
    ordered: bool = True,
) -> Generator[ObjectRef[R], None, None]:
    """Submit a task for each item of ``source`` and yield the results, each once it is ready.

    Args:
        submit: What submits it, as ``function.remote``; it returns one reference.
        source: A stream, whose references are handed on as they are, or any other iterable. Of a
            stream only what is there is taken while results are awaited.
        in_flight: How many results there may be at a time, running or not yet taken.
        ordered: Whether they come in the order of their items; else as they are ready.

    Raises:
        ValueError: ``in_flight`` is less than 1.
        TypeError: It is no integer, or ``submit`` returned something else than a reference.
        Exception: What ``source`` or ``submit`` raises. What a task raises lies in its reference.
    """
    check_in_flight(in_flight)
    return (_mapped_in_order if ordered else _mapped_as_ready)(submit, source, in_flight)


def _mapped_in_order(
    submit: Callable[[Any], ObjectRef[R]], source: Iterable[Any], in_flight: int
) -> Generator[ObjectRef[R], None, None]:
    feed = _Feed(submit, source)
    pending: deque[ObjectRef[R]] = deque()
    while True:
        while len(pending) < in_flight and feed.has_more(not pending):
            feed.submit_into(pending)
        if not pending:
            return
        head = pending[0]
        if head in wait(feed.beside([head], len(pending) < in_flight))[0]:
            pending.popleft()
            yield head
        del head


def _mapped_as_ready(
    submit: Callable[[Any], ObjectRef[R]], source: Iterable[Any], in_flight: int
) -> Generator[ObjectRef[R], None, None]:
    feed = _Feed(submit, source)
    pending: list[ObjectRef[R]] = []
    ready: deque[ObjectRef[R]] = deque()
    while True:
        while len(pending) + len(ready) < in_flight and feed.has_more(not pending and not ready):
            feed.submit_into(pending)
        if not ready:
            if not pending:
                return
            wait(feed.beside(pending, len(pending) < in_flight))
            found, pending = wait(pending, num_returns=len(pending), timeout=0)
            ready.extend(found)
        if ready:
            yield ready.popleft()


class _Feed(Generic[R]):
    """The items of a source, submitted one by one."""

    def __init__(self, submit: Callable[[Any], ObjectRef[R]], source: Iterable[Any]) -> None:
        self._submit = submit
        self._stream = source if isinstance(source, ObjectRefGenerator) else None
        self._items: Iterator[Any] | None = iter(source)
        self._next: Any = END

    def has_more(self, may_block: bool) -> bool:
        """Take the next item, if it is there or ``may_block``; return whether there is one."""
        if self._items is None:
            return False
        stream = self._stream
        if stream is not None and not (may_block or stream.next_ready()):
            ended_or_ready, _ = wait([stream], timeout=0)
            if not ended_or_ready:
                return False
        self._next = next(self._items, END)
        if self._next is END:
            self._items = self._stream = None
            return False
        return True

    def submit_into(self, pending: Any) -> None:
        """Submit the item that was taken."""
        item, self._next = self._next, END
        pending.append(submitted(self._submit, item))

    def beside(self, refs: list[ObjectRef[R]], has_room: bool) -> list[Any]:
        """Return what to wait for: ``refs``, and the stream if more of it is wanted."""
        return [*refs, self._stream] if has_room and self._stream is not None else refs


def check_in_flight(in_flight: Any) -> None:
    """Check what ``mapped`` takes."""
    if type(in_flight) is not int:
        raise TypeError(f"in_flight must be an integer, got {in_flight!r}")
    if in_flight < 1:
        raise ValueError(f"in_flight must be at least 1, got {in_flight}")


def submitted(submit: Callable[[Any], ObjectRef[R]], item: Any) -> ObjectRef[R]:
    """Submit a task and return its result's reference."""
    ref = submit(item)
    if not isinstance(ref, ObjectRef):
        raise TypeError(f"submit must return one ObjectRef, got {type(ref).__name__}")
    return ref


# -- a timeout for each item -----------------------------------------------------------------------
@overload
def timed(  # type: ignore[overload-overlap]  # as above
    stream: RefTupleGenerator[Refs], timeout_s: float
) -> Generator[Refs, None, None]: ...
@overload
def timed(
    stream: ObjectRefGenerator[T], timeout_s: float
) -> Generator[ObjectRef[T], None, None]: ...
def timed(stream: ObjectRefGenerator[Any], timeout_s: float) -> Generator[Any, None, None]:
    """Yield the references of a stream, each of which must come within ``timeout_s`` seconds.

    The time counts from when it is asked for. Nothing is lost by a timeout: who holds the stream
    can go on with it.

    Raises:
        GetTimeoutError: One did not come in time.
        ValueError: ``timeout_s`` is negative.
    """
    while True:
        try:
            ref = stream.next(timeout=timeout_s)
        except StopIteration:
            return
        yield ref
        del ref


# -- progress --------------------------------------------------------------------------------------
class Progress:
    """How far something long has come.

    Attributes:
        count: Items so far.
        elapsed_s: Seconds since the first one was asked for.
        is_over: Whether there are no more.
    """

    def __init__(self, report: Callable[["Progress"], Any], every_s: float) -> None:
        """Begin now, and report at most every so many seconds, and at the end."""
        self.count = 0
        self.elapsed_s = 0.0
        self.is_over = False
        self._report = report
        self._every_ns = int(every_s * 1e9)
        self._began_ns = self._told_ns = clock.now_ns()

    def tell(self, is_over: bool) -> None:
        """Report, if it is time to."""
        now_ns = clock.now_ns()
        if is_over or now_ns - self._told_ns >= self._every_ns:
            self.elapsed_s, self.is_over = (now_ns - self._began_ns) / 1e9, is_over
            self._told_ns = now_ns
            self._report(self)


def tracked(
    source: Iterable[T], report: Callable[[Progress], Any], *, every_s: float = 1.0
) -> Generator[T, None, None]:
    """Yield what ``source`` does, and call ``report`` now and then, and when it has ended.

    It is called between items, so not while none comes; and not by who leaves early.
    """
    progress = Progress(report, every_s)
    for item in source:
        progress.count += 1
        progress.tell(is_over=False)
        yield item
        del item
    progress.tell(is_over=True)
