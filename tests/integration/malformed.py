"""Messages that a member may send and no zgen would: seeded, of every kind, and some that boom."""

from __future__ import annotations

import os
import pickle
import random
import struct
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NewType, get_args, get_origin, get_type_hints

import zgen.core.process  # noqa: F401  # declares every kind
from zgen.ids import ID_BYTES, OBJECT_ID_BYTES, ObjectId
from zgen.io.sockets import PLAN
from zgen.wire.codec import FLAG_BODY, FLAG_UNSEQUENCED, encode, encode_header
from zgen.wire.lease import QueryNode
from zgen.wire.schema import KINDS, LAYOUTS, Buffers, Entry

#: Number of the question behind them all.
LAST_QUERY: Final = 77
#: Claims of more than is there: arrays, maps, bytes, text and extensions of 4 GiB; and depth.
BOMBS: Final = tuple(
    [bytes([kind]) + b"\xff\xff\xff\xff" for kind in (0xDD, 0xDF, 0xC6, 0xDB, 0xC9)]
    + [b"\x91" * 100_000, b"\x93\x04" + b"\xdd\x7f\xff\xff\xff" * 2, b"\x81" * 1000]
)
_INTEGERS: Final = (-1, 0, 1, 2, 7, 1 << 31, (1 << 63) - 1, -(1 << 63))
_ENDPOINTS: Final = (
    "",
    "inproc://zeromq.zap.01",
    "inproc://monitor-1",
    "ipc://" + "x" * 500,
    "ipc:///nowhere/at/all",
    "tcp://127.0.0.1:1",
    "tcp://[:]:*",
    "pgm://eth0;239.192.1.1:5555",
    "\0",
)


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def canary(path: Path) -> bytes:
    return pickle.dumps(Canary(path))


def some(hint: Any, dice: random.Random, data: bytes | None = None) -> Any:
    """Return a value that fits a field of type ``hint``, with ``data`` where bytes may stand."""
    if hint == Entry or hint is bytes:
        return dice.randbytes(dice.randrange(40)) if data is None else data
    if hint is ObjectId:
        return bytes([dice.randrange(3)]) * OBJECT_ID_BYTES
    if isinstance(hint, NewType):
        return bytes([dice.randrange(3)]) * ID_BYTES
    if hint in LAYOUTS:
        return hint(*[some(each, dice, data) for each in _hints(hint)])
    if hint is bool:
        return dice.random() < 0.5
    if hint is int:
        return dice.choice(_INTEGERS)
    if hint is str:
        return dice.choice(_ENDPOINTS)
    assert get_origin(hint) is tuple, hint
    arguments = get_args(hint)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple([some(arguments[0], dice, data) for _ in range(dice.randrange(3))])
    return tuple([some(each, dice, data) for each in arguments])


def _hints(cls: type) -> list[Any]:
    found = get_type_hints(cls)
    hints = [found[field.name] for field in fields(cls)]
    return [hint for hint in hints if hint is not Buffers]


def of_every_kind(dice: random.Random, data: bytes | None = None) -> Iterator[Any]:
    """Yield one message of each kind; without those that make a node start or end something."""
    for layout in list(KINDS.values()):
        if layout.cls.__name__ in ("Hello", "Goodbye", "RegisterJob", "DrainNode"):
            continue
        values = [some(hint, dice, data) for hint in _hints(layout.cls)]
        if layout.buffered:
            yield layout.cls(*values, buffers=Buffers((data or b"x",)))
        else:
            yield layout.cls(*values)


def messages(count: int, seed: int) -> Iterator[list[bytes]]:
    """Yield the frames of so many messages, and of a question that a node answers at the end."""
    dice = random.Random(seed)
    seq = 0
    whole: list[list[bytes]] = []
    for _ in range(count):
        whole = whole or [encode(message) for message in of_every_kind(dice)]
        match dice.randrange(10):
            case 0:
                yield [dice.randbytes(dice.randrange(40)) for _ in range(dice.randrange(1, 5))]
                continue
            case 1:
                flags = dice.choice([FLAG_BODY | FLAG_UNSEQUENCED, FLAG_UNSEQUENCED, 255])
                yield [encode_header(flags, 0, 0), dice.randbytes(30)]
                continue
            case 2:
                yield [PLAN + struct.pack("!I", dice.choice([0, 5, 0xFFFFFFFF])), b"x"]
                continue
            case 3:
                far = dice.choice([seq + (1 << 40), 0, (1 << 64) - 1])
                yield [encode_header(FLAG_BODY, far, dice.getrandbits(64)), b"\x91\x01"]
                continue
            case 4 | 5:
                body = [dice.choice(BOMBS)]
            case 6:
                body = [dice.randbytes(dice.randrange(1, 200))]
            case 7:
                cut = whole.pop()
                body = [cut[0][: dice.randrange(len(cut[0]))], *cut[1:]]
            case 8:
                body = [*whole.pop(), *[b"x"] * dice.randrange(1, 5)]
            case _:
                body = whole.pop()
        seq += 1
        yield [encode_header(FLAG_BODY, seq, 0), *body]
    yield [encode_header(FLAG_BODY, seq + 1, 0), *encode(QueryNode(LAST_QUERY))]
