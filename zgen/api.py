"""`init shutdown is_initialized get put wait`."""

from collections.abc import Sequence
from operator import attrgetter
from types import TracebackType
from typing import Any, Final, TypeVar, overload

from zgen.exceptions import ObjectLostError, StreamClosedError
from zgen.handles import ObjectRef, ObjectRefGenerator, put_packed, value_of, wait_blocked
from zgen.ids import ObjectId
from zgen.io import clock, serializer
from zgen.io.addresses import given_address
from zgen.options import UNIT, node_resources
from zgen.runtime import process, start
from zgen.runtime.arrivals import Arrivals
from zgen.runtime.process import Runtime
from zgen.runtime.waits import CountWaiter, CrowdWaiter, others
from zgen.wire.value import is_error

T = TypeVar("T")

Waitable = ObjectRef[Any] | ObjectRefGenerator[Any]
W = TypeVar("W", bound=Waitable)


class Context:
    """What ``init`` returns: facts about the node, and a way to leave it with ``with``.

    Attributes:
        address: Endpoint of the node's daemon.
        node_id: Hex id of the node.
        session_dir: Folder of the node's sockets.
        resources: All resources of the node, by name.
    """

    def __init__(self, driver: start.Driver) -> None:
        """Read the facts off ``driver``."""
        self.address: Final = driver.node.address.endpoint
        self.node_id: Final = driver.node.address.peer.hex()
        self.session_dir: Final = driver.node.folder
        self.resources: Final = {name: amount / UNIT for name, amount in driver.runtime.total}

    def __enter__(self) -> "Context":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shut zgen down."""
        shutdown()

    def __repr__(self) -> str:
        """Show the facts."""
        return f"Context(address={self.address!r}, resources={self.resources!r})"


def init(
    address: str | None = None,
    *,
    key: str | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    object_store_memory: int | None = None,
    object_spilling_directory: str | None = None,
    namespace: str | None = None,
    ignore_reinit_error: bool = False,
    log_to_driver: bool = True,
    timeline: bool = False,
    **others: Any,
) -> Context:
    """Start zgen in this process, as a driver.

    Args:
        address: None or ``"local"`` starts a node for this program, which ends with it; ``"auto"``
            joins the one that ``zgen node start`` runs on this machine; a node's address or folder
            joins that one; ``"tcp://HOST:PORT"`` joins a cluster by any member, with a node of this
            program's own that has no CPUs. ``ZGEN_ADDRESS`` stands for None.
        key: File with the cluster's key; by default the one that ``ZGEN_KEY`` names.
        num_cpus: CPUs of the started node; by default as many as this process may use.
        num_gpus: GPUs of the started node.
        resources: Its other resources, by name.
        object_store_memory: Bytes that objects may take in its shared memory; by default 30 %.
        object_spilling_directory: Folder of objects that find no room there; by default `/tmp`.
        namespace: Where names of actors count; by default this program has one of its own.
        ignore_reinit_error: Return the running context instead of raising if zgen runs already.
        log_to_driver: Whether what workers print is shown here.
        timeline: Whether what runs when is noted, for ``zgen.timeline``; so does ``ZGEN_TIMELINE``.
        others: Options of Ray without a meaning here, as ``include_dashboard``; else an error.

    Raises:
        RuntimeError: zgen runs in this process already.
        NodeStartError: The node could not be started or joined; ``HandshakeError`` is one.
        ValueError: An amount is out of range, the folder cannot be written to, one of them is
            given for a node that is joined, or a key for one that needs none.
        TypeError: An argument is of a wrong type.
    """
    unknown = [name for name in others if name not in _WITHOUT_MEANING]
    if unknown:
        raise TypeError(f"init() got an unexpected keyword argument {unknown[0]!r}")
    if process.forked:
        process.require()
    if process.current is not None:
        if ignore_reinit_error and start.driver is not None:
            return Context(start.driver)
        raise RuntimeError(_INITIALIZED)
    address = None if address == "local" else given_address(address)
    amounts = node_resources(num_cpus, num_gpus, resources)
    store = object_store_memory, object_spilling_directory
    settings = _settings(address, num_cpus, amounts, *store)
    settings["timeline"] = timeline
    settings |= {"key": _key(address, key), "log_to_driver": log_to_driver, "namespace": namespace}
    started = start.start_driver(address, **settings)
    context = Context(started)
    started.rest()
    return context


_INITIALIZED: Final = (
    "zgen.init() was called already; call zgen.shutdown() first, or pass ignore_reinit_error=True"
)
_WITHOUT_MEANING: Final = ("include_dashboard", "logging_level", "configure_logging")


def _settings(
    address: str | None,
    num_cpus: Any,
    resources: dict[str, Any],
    object_store_memory: Any,
    object_spilling_directory: Any,
) -> dict[str, Any]:
    """Check the settings of a node that is to be started; for one that is joined there are none."""
    given = (num_cpus, resources or None, object_store_memory, object_spilling_directory)
    if address is not None and given != (None, None, None, None):
        raise ValueError(
            "num_cpus, num_gpus, resources, object_store_memory and object_spilling_directory "
            "describe a node to be started, not one to be joined"
        )
    if type(object_store_memory) not in (int, type(None)):
        raise TypeError(f"object_store_memory must be an int, got {object_store_memory!r}")
    return {
        "num_cpus": num_cpus,
        "resources": resources,
        "object_store_memory": object_store_memory,
        "object_spilling_directory": object_spilling_directory,
    }


def _key(address: str | None, key: str | None) -> str | None:
    """Return the file of a key, which is for nodes of other machines only."""
    if not isinstance(key, str) or (address or "").startswith("tcp://"):
        return key  # what is no text is refused with the other ones
    raise ValueError(
        "key is for the nodes of address='tcp://HOST:PORT'; nodes of this machine need none, "
        f"and address is {address!r}"
    )


def shutdown() -> None:
    """End zgen in this process, and a node that was started for it; harmless if none runs.

    If another thread is about to end it, this returns when that is done.
    """
    start.stop_driver()


def is_initialized() -> bool:
    """Return whether zgen runs in this process."""
    return process.current is not None


def put(value: T) -> ObjectRef[T]:
    """Own ``value`` as an object and return a reference to it.

    Raises:
        TypeError: It is a reference or a generator already.
        StreamLentError: A generator lies inside it that was handed over already.
        NodeDiedError: The node is gone.
        ObjectStoreFullError: It is large, and there is no room for it.
        OutOfDiskError: And none can be made, for a full disk.
    """
    if isinstance(value, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(f"zgen.put() of {value!r}: it refers to objects already")
    runtime = start.ensure()
    runtime.enter()
    runtime.refuse_if_lost()
    return put_packed(runtime, serializer.serialize(value))


@overload
def get(refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(refs: Sequence[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
def get(refs: Any, *, timeout: float | None = None) -> Any:
    """Return the object behind a reference, or a list of them for a list, once it is there.

    Args:
        refs: One reference, or a list of them.
        timeout: Seconds; None waits for ever, 0 only looks.

    Raises:
        GetTimeoutError: Not everything was there in time.
        TaskError: The task raised; also an instance of the class that it raised. In a list the
            first
            error that is there ends the wait for the others.
        ZgenError: The system failed; see ``zgen.exceptions``.
        TypeError: ``refs`` is a generator, or an element is not a reference.
        ValueError: ``refs`` is neither a reference nor a list.
    """
    deadline_ns = None if timeout is None else clock.deadline_ns(timeout)
    if type(refs) is ObjectRef:
        value = refs.record.value
        if type(value) is bytes:
            return serializer.loads(value)
        if value is None:
            _await_all([refs], timeout, deadline_ns)
        return value_of(refs, deadline_ns)
    if isinstance(refs, ObjectRefGenerator):
        raise TypeError(
            "zgen.get() of a generator: take its references with next(gen) or a for loop, or get "
            "gen.completed() to wait for its end"
        )
    if not isinstance(refs, list):
        raise ValueError(
            f"zgen.get() takes an ObjectRef or a list of them, got {type(refs).__name__}"
        )
    for kind in frozenset(map(type, refs)):
        if not issubclass(kind, ObjectRef):
            raise TypeError(f"zgen.get() takes a list of ObjectRefs, an element is {kind.__name__}")
    failed = _await_all(refs, timeout, deadline_ns)
    if failed is not None:
        value_of(failed)
    values = list(map(_value_of_record, refs))
    if frozenset(map(type, values)) == _PLAIN:
        return list(map(serializer.loads, values))
    return [value_of(ref, deadline_ns) for ref in refs]


def wait(
    refs: list[W],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[W], list[W]]:
    """Wait until ``num_returns`` of the references and generators are ready.

    A generator is ready if ``next`` would not block; that is also so when it is exhausted. Nothing
    is taken from it.

    Args:
        refs: References and generators, without repetition.
        num_returns: How many to wait for; never more are returned as ready.
        timeout: Seconds; None waits for ever, 0 only looks.
        fetch_local: Whether a large value must be on this node to count: one that lies on another
            is brought here, also if it is not returned. An error counts, and what cannot come.

    Returns:
        The ready ones and the others, each in the order given.

    Raises:
        TypeError: ``refs`` is not a list of references and generators.
        ValueError: It has duplicates, or ``num_returns`` or ``timeout`` is out of range.
        StreamClosedError: zgen was shut down by another thread meanwhile.
    """
    deadline_ns = clock.deadline_ns(timeout)
    _check_wait(refs, num_returns)
    if not refs:
        return [], []
    items = list(refs)
    runtime = start.ensure()
    runtime.enter()
    runtime.waits.ask(item._id for item in items)  # noqa: SLF001  # a method call for each is dear
    arrivals = runtime.arrivals.bring(items) if fetch_local else None
    ready = _ready_among(items, num_returns, arrivals)
    while len(ready) < num_returns and timeout != 0:
        with runtime.loop.lock:
            ready = _ready_among(items, num_returns, arrivals)
            if len(ready) == num_returns or runtime.closed:
                break
            names = [item._id for item in items]  # noqa: SLF001  # as above
            pending: dict[bytes, None] = dict.fromkeys(names)
            for index in ready:
                del pending[names[index]]
            waiter = CrowdWaiter(pending, len(items) - num_returns, is_local=fetch_local)
            runtime.waits.add_crowd(waiter, items)
        try:
            runtime.arrivals.begin()
            done = wait_blocked(runtime, waiter, deadline_ns)
        finally:
            with runtime.loop.lock:
                runtime.waits.remove_crowd(waiter)
        ready = _ready_among(items, num_returns, arrivals)
        if not done:
            break
    if runtime.closed and len(ready) < num_returns:
        raise StreamClosedError("", f"{runtime.closed} before {num_returns} were ready")
    return [items[index] for index in ready], others(items, ready)


#: A list that is waited for may have thousands of elements: each is a turn of a short loop.
_WAITABLE: Final = frozenset((ObjectRef, ObjectRefGenerator))
_value_of_record: Final = attrgetter("record.value")
_PLAIN: Final = frozenset((bytes,))  # types of values that are no errors and not in shared memory
_PLAIN_OR_PENDING: Final = frozenset((bytes, type(None)))


def _ready_among(items: Sequence[Waitable], count_max: int, arrivals: Arrivals | None) -> list[int]:
    """Return the positions of what is ready, ``count_max`` at most, and here if ``arrivals`` says.

    What has a value on record is looked at more closely, since a generator that had something may
    have it no longer; each one does once for each time it advanced.
    """
    if arrivals is not None and arrivals.is_used:
        return arrivals.ready_among(items, count_max)
    ready: list[int] = []
    for index, item in enumerate(items):
        if item.record.value is not None and (
            isinstance(item, ObjectRef) or item.would_not_block()
        ):
            ready.append(index)
            if len(ready) == count_max:
                break
    return ready


def _check_wait(refs: Any, num_returns: Any) -> None:
    """Check the arguments of ``wait``."""
    if isinstance(refs, (ObjectRef, ObjectRefGenerator)):
        raise TypeError(
            f"zgen.wait() takes a list of references, got a single {type(refs).__name__}"
        )
    if not isinstance(refs, list):
        raise TypeError(f"zgen.wait() takes a list of references, got {type(refs).__name__}")
    for kind in {type(ref) for ref in refs} - _WAITABLE:
        if not issubclass(kind, (ObjectRef, ObjectRefGenerator)):
            raise TypeError(
                f"zgen.wait() takes a list of references, an element is {kind.__name__}"
            )
    if not hasattr(num_returns, "__index__"):
        raise TypeError(f"num_returns must be an integer, got {num_returns!r}")
    if not refs:
        return
    if len({ref._id for ref in refs}) != len(refs):  # noqa: SLF001  # a method call is dear
        raise ValueError("zgen.wait() takes a list without duplicates")
    if not 0 < num_returns <= len(refs):
        raise ValueError(
            f"num_returns must be between 1 and {len(refs)}, the number of references, got "
            f"{num_returns}"
        )


def _await_all(
    refs: list[ObjectRef[Any]], timeout: float | None, deadline_ns: int | None
) -> ObjectRef[Any] | None:
    """Wait until all of ``refs`` are ready or one is an error; return the first such one."""
    runtime = _enter_if_running()
    while True:
        kinds = frozenset(map(type, map(_value_of_record, refs)))
        if not kinds <= _PLAIN_OR_PENDING:
            for ref in refs:
                value = ref.record.value
                if value is not None and is_error(value):
                    return ref
        if type(None) not in kinds:
            return None
        if runtime is None:
            raise ObjectLostError(refs[0].hex(), "zgen was shut down before it was ready")
        with runtime.loop.lock:
            unready = [ref for ref in refs if ref.record.value is None]
            pending: list[ObjectId] = [*dict.fromkeys([ref._id for ref in unready])]  # noqa: SLF001  # as ``wait`` does
            waiter = CountWaiter(len(pending), stop_at_error=True)
            if pending:
                runtime.waits.add(waiter, pending, ())
        try:
            done = not pending or wait_blocked(runtime, waiter, deadline_ns)
        finally:
            if waiter.missing > 0:  # else it is told of nothing any more
                with runtime.loop.lock:
                    runtime.waits.remove(waiter, pending, ())
        if not done and any(ref.record.value is None for ref in refs):
            if runtime.closed:
                raise StreamClosedError("", f"{runtime.closed} before this was ready")
            raise serializer.timed_out(f"{len(pending)} of {len(refs)} objects", timeout or 0.0)


def _enter_if_running() -> Runtime | None:
    runtime = process.current
    if runtime is None and process.forked:
        process.require()
    if runtime is not None:
        runtime.enter()
    return runtime
