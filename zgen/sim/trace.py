"""One line per event and effect; digest of a whole run; lines that people can read.

Theory of operation. Every event and effect goes into the digest by the ``repr`` of its fields, so
that two runs with equal digests did the same things at the same times; a run whose digest nobody
wants is spared that. Only the last ones are kept as objects, and they are made readable when
somebody asks.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

from zgen.core.effects import Transmit
from zgen.core.events import Arrived
from zgen.exceptions import RemoteProtocolError
from zgen.ids import ID_BYTES, OBJECT_ID_BYTES, short
from zgen.wire.codec import FLAG_BODY, FLAG_UNSEQUENCED, decode, decode_header

LINES_KEPT: Final = 400
_BATCH: Final = 512
_BYTES_SHOWN: Final = 12


class Trace:
    """What happened in one run.

    Attributes:
        names: Readable names of ids. Added by whoever knows one; never removed.
    """

    def __init__(self, kept_max: int | None = LINES_KEPT, *, hashes: bool = True) -> None:
        """Keep the last ``kept_max`` lines, or all of them if it is None; hash them or not."""
        self.names: dict[bytes, str] = {}
        self._hashes = hashes
        self._kept: deque[tuple[int, str, str, Any]] = deque(maxlen=kept_max)
        #: Lines that are not hashed yet. Added by ``note``; removed a batch at a time.
        self._unhashed: list[str] = []
        self._hash = blake2b(digest_size=16)

    def note(self, now_ns: int, who: str, sign: str, what: Any) -> None:
        """Note an event (``<``), an effect (``>``) or an act of the world (``*``)."""
        self._kept.append((now_ns, who, sign, what))
        if not self._hashes:
            return
        kind = type(what)
        if kind is Arrived:
            # Its other frames were hashed when they were transmitted.
            first = what.frames[0] if what.frames else None
            said = f"{now_ns}{who}{sign}{what.connection}{first}"
        elif kind is Transmit:
            said = f"{now_ns}{who}{sign}{what.peer}{what.epoch}{what.frames}"
        elif kind is str:
            said = f"{now_ns}{who}{sign}{what}"
        else:
            fields_of = _FIELDS_OF.get(kind) or _learn(kind)
            said = f"{now_ns}{who}{sign}{kind.__name__}{fields_of(what)}"
        self._unhashed.append(said)
        if len(self._unhashed) >= _BATCH:
            self._fold()

    def digest(self) -> str:
        """Return the hash of everything noted so far, or nothing if this trace makes none."""
        self._fold()
        return self._hash.hexdigest() if self._hashes else ""

    def lines(self) -> list[str]:
        """Return the kept lines, readable, oldest first."""
        width = max((len(who) for _, who, _, _ in self._kept), default=0)
        return [
            f"{now_ns / 1e6:12.3f} ms  {who:<{width}} {sign} {self.show(what)}"
            for now_ns, who, sign, what in self._kept
        ]

    def show(self, what: Any) -> str:
        """Return ``what`` on one line, ids by their names, frames as their messages."""
        if isinstance(what, Arrived):
            return f"Arrived({self._bytes(what.connection)} {self._frames(what.frames)})"
        if isinstance(what, Transmit):
            return f"Transmit({self._bytes(what.peer)}/{what.epoch} {self._frames(what.frames)})"
        if isinstance(what, bytes):
            return self._bytes(what)
        if isinstance(what, str):
            return what
        if is_dataclass(what):
            parts = (self.show(getattr(what, field.name)) for field in fields(what))
            return f"{type(what).__name__}({', '.join(parts)})"
        if isinstance(what, tuple | list):
            return f"[{', '.join(self.show(each) for each in what)}]"
        return repr(what)

    def _bytes(self, value: bytes) -> str:
        name = self.names.get(value)
        if name is None and len(value) == OBJECT_ID_BYTES and value[:ID_BYTES] in self.names:
            return f"{self.names[value[:ID_BYTES]]}.{int.from_bytes(value[ID_BYTES:], 'big')}"
        if name is not None:
            return name
        if len(value) in (ID_BYTES, OBJECT_ID_BYTES):
            return short(value)
        if len(value) > _BYTES_SHOWN:
            return f"{value[:_BYTES_SHOWN]!r}…{len(value)}"
        return repr(value)

    def _frames(self, frames: list[bytes]) -> str:
        try:
            header = decode_header(frames[0])
            number = "" if header.flags & FLAG_UNSEQUENCED else f"#{header.seq} "
            if not header.flags & FLAG_BODY:
                return f"ack {header.ack}"
            return f"{number}ack {header.ack} {self.show(decode(frames[1:]))}"
        except (RemoteProtocolError, IndexError):
            return self.show(frames)

    def _fold(self) -> None:
        self._hash.update("\n".join(self._unhashed).encode())
        self._unhashed.clear()


#: Class of an event or effect -> what takes its fields. Added by ``_learn``; never removed.
_FIELDS_OF: dict[type, Callable[[Any], Any]] = {}


def _learn(kind: type) -> Callable[[Any], Any]:
    """Return what takes the fields of such a thing; it is remembered."""
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else None
    plain = repr if names is None else _no_fields
    _FIELDS_OF[kind] = attrgetter(*names) if names else plain
    return _FIELDS_OF[kind]


def _no_fields(what: object) -> str:
    return ""


def difference(old: Iterable[str], new: Iterable[str]) -> str:
    """Return the first line in which two transcripts differ, or an empty string."""
    olds, news = list(old), list(new)
    for number, (was, now) in enumerate(zip(olds, news, strict=False), start=1):
        if was != now:
            return f"line {number}\n- {was}\n+ {now}"
    if len(olds) != len(news):
        return f"{len(olds)} lines before, {len(news)} now"
    return ""
