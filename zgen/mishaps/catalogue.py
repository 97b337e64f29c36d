"""Kinds of messages by name and number, which answer which, and what a frame's kind is."""

import importlib
import pkgutil
from enum import Enum
from typing import Final

import zgen.wire
from zgen.wire.schema import KINDS

#: Request -> messages that answer it. What is missing here is answered by an acknowledgement of the
#: session alone.
ANSWERS: Final[dict[str, tuple[str, ...]]] = {
    "Hello": ("Hello",),
    "RegisterJob": ("JobRegistered",),
    "RequestLease": ("LeaseGranted", "LeaseWaiting", "LeaseRefused"),
    "LeaseWanted": ("ReturnLease",),
    "QueryNode": ("NodeReport",),
    "WatchProcess": ("ProcessDown",),
    "PushTasks": ("TasksDone", "TasksReturned", "ArgumentsLost"),
    "CancelTask": ("TasksDone",),
    "StreamParked": ("Consumed",),
    "TakeStream": ("StreamItems", "StreamRefused"),
    "WantRegions": ("RegionsLeased", "RegionsRefused"),
    "HoldRegions": ("RegionsHeld",),
    "AskEvict": ("Evict",),
    "AddBorrowers": ("LoansTaken",),
    "WantObjects": ("ObjectIs", "ObjectsGone"),
    "WatchActor": ("ActorAt", "ActorLost"),
    "ClaimName": ("NameAnswer",),
    "FindName": ("NameAnswer",),
    "ListState": ("StateTold",),
    "TellState": ("StateRows",),
    "Ping": ("PingAck",),
    "PingRequest": ("IndirectAck",),
    "JoinRequest": ("JoinAnswer",),
    "Digest": ("PushPull",),
    "ForwardLease": ("LeaseBack",),
    "AskChunk": ("NoChunk",),
    "HoldName": ("NameWord",),
    "SeekName": ("NameWord",),
    "AskNames": ("NamesTold",),
}


class Action(Enum):
    """What may befall a message; the values are the keys of rules."""

    DROP = "drop"  #: it is lost
    REPLY_DROP = "reply_drop"  #: it arrives, and its answer is lost
    INFLIGHT_RETRY = "inflight_retry"  #: it arrives after it was sent again
    DUP = "dup"  #: it arrives twice
    DELAY = "delay"  #: it arrives late, and after what was sent later


def names() -> dict[int, str]:
    """Return the name of every kind of message."""
    for module in pkgutil.iter_modules(zgen.wire.__path__):
        importlib.import_module(f"zgen.wire.{module.name}")
    return {kind: KINDS[kind].cls.__name__ for kind in sorted(KINDS)}


def kind_of(body: bytes) -> int:
    """Return the kind that the body frame of a message begins with, or -1; nothing is decoded."""
    at = 3 if body[:1] == b"\xdc" else 1
    first = body[at : at + 1]
    if first == b"\xcc":
        first = body[at + 1 : at + 2]
    elif first >= b"\x80":
        return -1
    return first[0] if first else -1
