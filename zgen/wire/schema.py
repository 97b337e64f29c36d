"""``@message``, kinds, field checks, version.

Rules of this file: a message is an array ``[kind, field, …]`` in declaration order; fields are only
ever appended, with defaults; kinds are never used twice. A field of type ``Buffers`` comes last and
travels as frames of its own. What does not fit its declaration is a ``RemoteProtocolError``.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from operator import attrgetter
from typing import (
    Any,
    Final,
    NewType,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from zgen.exceptions import RemoteProtocolError
from zgen.ids import ID_BYTES, OBJECT_ID_BYTES, ObjectId
from zgen.slotted import slotted

VERSION_MIN: Final = 1
VERSION_MAX: Final = 1

#: Raw frames behind the body, in the order in which the entries of the message name them.
Buffers = NewType("Buffers", tuple[bytes, ...])
NO_BUFFERS: Final = Buffers(())

T = TypeVar("T")
Convert = Callable[[Any], Any]
#: Frozen costs twice the construction, so it is on only where tests run (``python -X dev``).
_FROZEN: Final = sys.flags.dev_mode


@slotted
class Layout:
    """How one class lies on the wire.

    Attributes:
        kind: Number on the wire, or -1 for a record inside messages.
        names: Field names in order, without the buffers.
        read: Returns the fields in that order.
        checks: How each field is checked: its exact type and its length, where that is all there
            is to it, or 0 for any length; and the function that checks, or that tells what is
            wrong.
        usual: Type that each field has as a rule; a message that has them is checked at a glance.
        lengths: Which fields have a length, and which.
        deep: Which fields are arrays to be looked into, and how.
        required: Number of leading fields that have no default.
        buffered: Whether the class ends in a ``Buffers`` field.
    """

    kind: int
    cls: type
    names: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    checks: tuple[tuple[type | None, int, Convert], ...]
    usual: tuple[type, ...]
    lengths: tuple[tuple[int, int], ...]
    deep: tuple[tuple[int, Convert], ...]
    required: int
    buffered: bool


#: Kind -> layout of every message class; filled at import, never changed after.
KINDS: Final[dict[int, Layout]] = {}
#: Class -> layout of messages and records.
LAYOUTS: Final[dict[type, Layout]] = {}


@dataclass_transform(frozen_default=True)
def message(kind: int) -> Callable[[type[T]], type[T]]:
    """Declare a message class under ``kind``.

    Raises:
        ValueError: The kind is taken.
    """

    def declare(cls: type[T]) -> type[T]:
        if kind in KINDS:
            raise ValueError(f"kind {kind:#x} is taken by {KINDS[kind].cls.__name__}")
        made = slotted(cls, frozen=_FROZEN)
        KINDS[kind] = LAYOUTS[made] = _lay_out(made, kind)
        return made

    return declare


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Declare a class that lies inside messages as an array of its fields."""
    made = slotted(cls, frozen=_FROZEN)
    LAYOUTS[made] = _lay_out(made, -1)
    return made


def to_array(value: Any) -> tuple[Any, ...]:
    """Return a record's fields in order; the packer calls this for what it does not know."""
    return LAYOUTS[type(value)].read(value)


def from_array(layout: Layout, array: tuple[Any, ...], offset: int) -> Sequence[Any]:
    """Check and convert ``array[offset:]`` by ``layout``; unknown trailing fields are ignored.

    Raises:
        RemoteProtocolError: A field is missing or is not what it is declared to be.
    """
    given = len(array) - offset
    rest = array[offset:] if offset else array
    if tuple(map(type, rest)) == layout.usual:
        for index, length in layout.lengths:
            if len(rest[index]) != length:
                break
        else:
            return _look_into(layout, rest) if layout.deep else rest
    if given < layout.required:
        raise RemoteProtocolError(
            f"{layout.cls.__name__} needs {layout.required} fields, got {given}"
        )
    values: list[Any] = []
    try:
        for value, (kind, length, convert) in zip(rest, layout.checks, strict=False):
            # Most fields are plain: no call for them.
            if type(value) is not kind or (length and len(value) != length):  # type: ignore[arg-type]
                values.append(convert(value))
            else:
                values.append(value)
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"{layout.cls.__name__}: {error}") from None
    return values


def _look_into(layout: Layout, array: tuple[Any, ...]) -> list[Any]:
    """Check and convert the arrays among fields whose types are right."""
    values = list(array)
    try:
        for index, convert in layout.deep:
            values[index] = convert(values[index])
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"{layout.cls.__name__}: {error}") from None
    return values


def _lay_out(cls: type, kind: int) -> Layout:
    declared = fields(cls)
    hints: dict[str, Any] = {field.name: field.type for field in declared}
    if str in map(type, hints.values()):
        hints = get_type_hints(cls)  # dear, and needless where annotations are no strings
    buffered = bool(declared) and hints[declared[-1].name] is Buffers
    plain = declared[:-1] if buffered else declared
    names = tuple(field.name for field in plain)
    required = sum(1 for field in plain if field.default is MISSING)
    checks = tuple(_check(hints[field.name]) for field in plain)
    return Layout(
        kind=kind,
        cls=cls,
        names=names,
        read=_reader(names),
        checks=checks,
        usual=tuple(
            each or (bytes if hints[field.name] == Entry else tuple)
            for field, (each, _, _) in zip(plain, checks, strict=True)
        ),
        lengths=tuple((index, length) for index, (_, length, _) in enumerate(checks) if length),
        deep=tuple(
            (index, convert)
            for index, (each, _, convert) in enumerate(checks)
            if each is None and hints[names[index]] != Entry
        ),
        required=required,
        buffered=buffered,
    )


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple([getattr(value, name) for name in names])


def _exact(wanted: type) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is not wanted:
            raise RemoteProtocolError(f"expected {wanted.__name__}, got {type(value).__name__}")
        return value

    return convert


def _sized(length: int) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is not bytes or len(value) != length:
            raise RemoteProtocolError(f"expected an id of {length} bytes")
        return value

    return convert


def _array(each: Convert) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is not tuple:
            raise RemoteProtocolError(f"expected an array, got {type(value).__name__}")
        return tuple([each(element) for element in value])

    return convert


def _pair(converts: tuple[Convert, ...]) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is not tuple or len(value) != len(converts):
            raise RemoteProtocolError(f"expected an array of {len(converts)}")
        return tuple([each(element) for each, element in zip(converts, value, strict=True)])

    return convert


def _records(cls: type) -> Convert:
    """Return what converts an array of records; equal ones in a row become one object."""
    layout = LAYOUTS[cls]

    def convert(value: Any) -> Any:
        if type(value) is not tuple:
            raise RemoteProtocolError(f"expected an array, got {type(value).__name__}")
        made: list[Any] = []
        last, same = None, None
        for element in value:
            if element != last:
                if type(element) is not tuple:
                    raise RemoteProtocolError(f"expected an array for {cls.__name__}")
                last, same = element, cls(*from_array(layout, element, 0))
            made.append(same)
        return tuple(made)

    return convert


def _nested(cls: type) -> Convert:
    layout = LAYOUTS[cls]

    def convert(value: Any) -> Any:
        if type(value) is not tuple:
            raise RemoteProtocolError(f"expected an array for {cls.__name__}")
        return cls(*from_array(layout, value, 0))

    return convert


def _entry(value: Any) -> Any:
    """Pass what ``wire.value`` packs: plain bytes, or ``(flag, data, buffer count)``."""
    if type(value) is bytes:
        return value
    if type(value) is tuple and len(value) == 3:
        flag, data, count = value
        if type(flag) is int and type(data) is bytes and type(count) is int and count >= 0:
            return value
    raise RemoteProtocolError("expected an entry")


Entry = bytes | tuple[int, bytes, int]


def _entries(value: Any) -> Any:
    """Pass an array of entries, most of which are plain bytes."""
    if type(value) is not tuple:
        raise RemoteProtocolError(f"expected an array, got {type(value).__name__}")
    for entry in value:
        if type(entry) is not bytes:
            _entry(entry)
    return value


def _check(hint: Any) -> tuple[type | None, int, Convert]:
    convert = _converter(hint)
    if hint in (int, bytes, str, bool):
        return hint, 0, convert
    if hint is ObjectId:
        return bytes, OBJECT_ID_BYTES, convert
    if isinstance(hint, NewType):
        return bytes, ID_BYTES, convert
    return None, 0, convert


def _converter(hint: Any) -> Convert:
    if hint == Entry:
        return _entry
    if hint is ObjectId:
        return _sized(OBJECT_ID_BYTES)
    if isinstance(hint, NewType):
        return _sized(ID_BYTES)
    if hint in LAYOUTS:
        return _nested(hint)
    if hint in (int, bytes, str, bool):
        return _exact(hint)
    if get_origin(hint) is tuple:
        arguments = get_args(hint)
        if arguments == (Entry, Ellipsis):
            return _entries
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            if arguments[0] in LAYOUTS:
                return _records(arguments[0])
            return _array(_converter(arguments[0]))
        return _pair(tuple(_converter(argument) for argument in arguments))
    raise TypeError(f"a field of type {hint} cannot be declared")
