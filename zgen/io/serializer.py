"""cloudpickle, out-of-band buffers, errors as values; the one import of cloudpickle.

Rules of this file: objects become ``Value`` or ``Large`` and back. Exact builtin scalars, small
containers of nothing else and numpy arrays go through the C pickler alone; everything else through
cloudpickle, since the C pickler writes functions and classes of ``__main__`` by reference without
complaint, and no worker can load those.
"""

import importlib.util
import io
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from zgen.exceptions import (
    GetTimeoutError,
    TaskError,
    ZgenError,
)
from zgen.ids import short
from zgen.io.faults import error_of_fault
from zgen.io.nested_refs import collecting
from zgen.io.tracebacks import text_of, traceback_of, user_frames
from zgen.limits import INLINE_BYTES_MAX
from zgen.slotted import slotted
from zgen.wire.value import NONE, Fault, NestedRef, Parcel, Value

_PLAIN: Final = frozenset({int, float, str, bytes, bool, complex})
#: Elements of a container that are looked at one by one; a larger one costs less than it does in
#: cloudpickle.
_LOOKED_AT_MAX: Final = 32
#: How deep containers in containers are looked at: the arguments of a call, and what is in them.
_DEPTH_MAX: Final = 5
#: Buffers smaller than this stay inside the pickle.
_BUFFER_BYTES_MIN: Final = 4 << 10
#: Out-of-band buffers of one value; further ones stay inside the pickle.
_BUFFERS_COUNT_MAX: Final = 256

#: The pickles of large ``bytes`` and ``bytearray``, whose content is the buffer: it is copied once
#: on each side, and not into a pickle before.
BYTES: Final = b"\x80\x05cbuiltins\nbytes\n\x97\x85R."
BYTEARRAY: Final = b"\x80\x05cbuiltins\nbytearray\n\x97\x85R."

#: The way back from plain bytes, which is all that most values are.
loads: Final = pickle.loads


@final
@slotted
class Large:
    """A value with more than ``INLINE_BYTES_MAX`` bytes, to be written into shared memory.

    Attributes:
        data: The pickle, without its out-of-band buffers; empty if it is the first of the parts.
        parts: Views of memory that others may have, in order.
        refs: References inside it.
    """

    data: bytes
    parts: list[memoryview]
    refs: tuple[NestedRef, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of each part."""
        return tuple([part.nbytes for part in self.parts])

    def copied(self) -> Parcel | bytes:
        """Return the same value with copies of its parts, for where there is no shared memory."""
        if self.data:
            return Parcel(self.data, tuple([bytes(part) for part in self.parts]), False, self.refs)
        data, *buffers = [bytes(part) for part in self.parts]
        return Parcel(data, tuple(buffers), False, self.refs) if buffers or self.refs else data


class Slot:
    """Stands in pickled arguments where a reference stood; its value travels beside them.

    Attributes:
        index: Position among the referenced arguments.
    """

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        """Stand for referenced argument ``index``."""
        self.index = index

    def __reduce__(self) -> tuple[type, tuple[int]]:
        """Pickle by position."""
        return Slot, (self.index,)


#: What the C pickler does as cloudpickle does, and containers that are looked into.
_ATOMS: Final = frozenset({*_PLAIN, type(None), Slot})
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})


def _cloudpickle() -> Any:
    """Import it on first use: the commonest values need none of it, and it takes its time."""
    import cloudpickle

    return cloudpickle


def preload() -> None:
    """Import what would be imported on first use, for processes that fork."""
    _cloudpickle()


def serialize(value: Any) -> Value | Large:
    """Return ``value`` as bytes, or as bytes with copies of its buffers, or as what is too large.

    Raises:
        StreamLentError: A generator lies inside it that was handed over already.
        Exception: Whatever pickling it raises.
    """
    kind = type(value)
    if kind in _PLAIN:
        if kind is bytes and len(value) > INLINE_BYTES_MAX:
            return Large(BYTES, [memoryview(value)])
        data = pickle.dumps(value, 5)
        if len(data) <= INLINE_BYTES_MAX:
            return data
        if kind is bytes:
            return Large(BYTES, [memoryview(value)])
        return Large(b"", [memoryview(data)])
    if value is None:
        return NONE
    if kind in _CONTAINERS and _is_plain(value, kind, _DEPTH_MAX):
        data = pickle.dumps(value, 5)
        return data if len(data) <= INLINE_BYTES_MAX else Large(b"", [memoryview(data)])
    return _serialize_with_buffers(value, kind)


def _serialize_with_buffers(value: Any, kind: type) -> Value | Large:
    if kind is bytearray and len(value) > INLINE_BYTES_MAX:
        return Large(BYTEARRAY, [memoryview(value)])
    buffers: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _BUFFER_BYTES_MIN or len(buffers) >= _BUFFERS_COUNT_MAX:
            return True
        buffers.append(raw)
        return False

    data: bytes | memoryview
    refs: tuple[NestedRef, ...] = ()
    if _is_plain_array(value, kind):
        data = pickle.dumps(value, 5, buffer_callback=keep_inside)
    else:
        file = io.BytesIO()
        with collecting() as found:
            _cloudpickle().Pickler(file, protocol=5, buffer_callback=keep_inside).dump(value)
        data = file.getbuffer()
        refs = tuple(found.values())
    if len(data) > INLINE_BYTES_MAX:
        return Large(b"", [memoryview(data), *buffers], refs)
    data = bytes(data)
    if len(data) + sum([buffer.nbytes for buffer in buffers]) > INLINE_BYTES_MAX:
        return Large(data, buffers, refs)
    copies = tuple([bytes(buffer) for buffer in buffers])
    return Parcel(data, copies, False, refs) if copies or refs else data


def _is_plain(value: Any, kind: type, depth: int) -> bool:
    """Return whether a builtin container holds nothing but what the C pickler does right."""
    if len(value) > _LOOKED_AT_MAX or not depth:
        return False
    if kind is dict:
        return all(map(_ATOMS.__contains__, map(type, value))) and _are_plain(value.values(), depth)
    return _are_plain(value, depth)


def _are_plain(values: Any, depth: int) -> bool:
    for value in values:
        kind = type(value)
        if kind in _ATOMS:
            continue
        if kind not in _CONTAINERS or not _is_plain(value, kind, depth - 1):
            return False
    return True


def _is_plain_array(value: Any, kind: type) -> bool:
    """Return whether ``value`` is a numpy array of numbers, dates or texts and nothing else."""
    numpy = sys.modules.get("numpy")
    if numpy is None or kind is not getattr(numpy, "ndarray", None):
        return False
    dtype = value.dtype
    return not dtype.hasobject and dtype.names is None and dtype.metadata is None


def deserialize(value: Value) -> Any:
    """Return the object in ``value``.

    Raises:
        ZgenError: It is an error; user errors are raised as instances of their own class too.
        Exception: Whatever unpickling it raises.
    """
    if type(value) is bytes:
        return pickle.loads(value)
    if isinstance(value, Parcel) and not value.is_error:
        return pickle.loads(value.data, buffers=value.buffers)
    raise error_of(value)


def deserialize_parts(data: bytes, parts: Sequence[memoryview]) -> Any:
    """Return the object whose parts lie in shared memory; what looks at them keeps them.

    Raises:
        Exception: Whatever unpickling it raises.
    """
    if data:
        return pickle.loads(data, buffers=parts)
    return pickle.loads(parts[0], buffers=parts[1:])


def error_of(value: Value) -> BaseException:
    """Return the exception that an error value stands for."""
    if isinstance(value, Fault):
        cause = None if value.cause is None else error_of(value.cause)
        return error_of_fault(value, cause)
    assert isinstance(value, Parcel), value
    error = pickle.loads(value.data, buffers=value.buffers)
    return error.as_instance_of_cause() if isinstance(error, TaskError) else error


def serialize_error(error: BaseException, function_name: str, pid: int, attempt: int) -> Value:
    """Return what ``get`` raises for a user's exception; one that does not pickle becomes text."""
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        # Out of ``get`` it would silently end a loop of the caller, or a generator of his.
        stop, error = error, RuntimeError(f"{function_name}() raised {type(error).__name__}")
        error.__cause__ = stop.with_traceback(user_frames(stop))
    text = traceback_of(error)
    wrapped = TaskError(error, function_name, text, pid, attempt)
    try:
        data = _cloudpickle().dumps(wrapped, protocol=5)
        pickle.loads(data)
    except Exception as refusal:
        cause = ZgenError(
            f"{type(error).__name__}: {text_of(error)} (it does not pickle: {text_of(refusal)})"
        )
        data = _cloudpickle().dumps(TaskError(cause, function_name, text, pid, attempt), protocol=5)
    return Parcel(data, (), True)


def dump_with_refs(function: Callable[..., Any]) -> tuple[bytes, tuple[NestedRef, ...]]:
    """Return a function or class as ``dump_function`` does, and the references it closes over.

    Raises:
        NestedRefError: It closes over a generator, which many workers would have then.
    """
    with collecting(streams=False) as found:
        payload = dump_function(function)
    return payload, tuple(found.values())


def dump_function(function: Callable[..., Any]) -> bytes:
    """Pickle a function or class for workers, by value if they could not import its module.

    Raises:
        Exception: Whatever pickling it raises.
    """
    return dump_for_keeper(function, function)


def dump_for_keeper(cls: Callable[..., Any], value: Any) -> bytes:
    """Pickle a value for another process, with a class of it that it may be unable to import.

    Raises:
        NestedRefError: A reference is in it.
        Exception: Whatever else pickling it raises.
    """
    module = sys.modules.get(getattr(cls, "__module__", None) or "")
    if module is not None and not _is_importable(module):
        _cloudpickle().register_pickle_by_value(module)
    return _cloudpickle().dumps(value, protocol=5)  # type: ignore[no-any-return]  # untyped there


def load_function(payload: bytes) -> Callable[..., Any]:
    """Return the function in ``payload``."""
    return pickle.loads(payload)  # type: ignore[no-any-return]  # as dumped


def dump_plain(value: Any) -> bytes:
    """Pickle something without buffers, such as a tuple of exception classes."""
    return _cloudpickle().dumps(value, protocol=5)  # type: ignore[no-any-return]  # untyped there


def load_plain(payload: bytes) -> Any:
    """Return what ``dump_plain`` pickled."""
    return pickle.loads(payload)


def _is_importable(module: Any) -> bool:
    """Return whether another process with the same search path would import this very module."""
    name = module.__name__
    if name == "__main__" or ("." not in name and name in sys.builtin_module_names):
        return True  # cloudpickle sends __main__ by value by itself
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return False
    if spec is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None or spec.origin != file:
        return file is None
    parent = name.rpartition(".")[0]
    if parent:
        return _is_importable(sys.modules[parent]) if parent in sys.modules else False
    return any(_finds(entry, name, file) for entry in sys.meta_path)


def _finds(finder: Any, name: str, file: str) -> bool:
    """Return whether a finder finds ``name`` at ``file`` without looking into ``sys.modules``."""
    find_spec = getattr(finder, "find_spec", None)
    spec = find_spec(name, None) if find_spec is not None else None
    return spec is not None and spec.origin == file


def timed_out(what: str, timeout_s: float) -> GetTimeoutError:
    """Return the error for a wait that ran out of time without ``what``."""
    return GetTimeoutError(f"timed out after {timeout_s} s without {what}; it may still arrive")


def name_of(object_bytes: bytes) -> str:
    """Return a short name of an object for messages."""
    return f"object {short(object_bytes)}"
