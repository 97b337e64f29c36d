"""Detours: messages to a node that cannot be reached, by way of one that reaches it."""

from zgen.ids import PeerId
from zgen.wire.schema import NO_BUFFERS, Buffers, message


@message(0x03)
class TakeDetour:
    """Node -> its processes: the link to another node is cut; what you send there, send to me.

    Attributes:
        node: The other one. What is meant is the node and all of its processes.
        turn: Number of this detour. A greater one says that another node is on the way now, so that
            what was under way may be lost.
    """

    node: PeerId
    turn: int


@message(0x04)
class EndDetour:
    """Node -> its processes: another node is to be reached directly again, or is gone.

    Attributes:
        node: Which one.
    """

    node: PeerId


@message(0x05)
class Relayed:
    """Process -> process: frames, by way of their nodes and a third one between those.

    They are what would have gone over a connection of the source: they may be lost, come
    late, or after what was sent later. Each node on the way knows all of it and changes nothing.

    Attributes:
        source: Who says it.
        source_node: Its node.
        incarnation: Life of the source.
        epoch: Number of the connection that this stands for, among those of that life.
        to: For whom it is.
        to_node: The node of that.
        sizes: Bytes of each frame.
        buffers: The frames, one behind another, as one buffer.
    """

    source: PeerId
    source_node: PeerId
    incarnation: int
    epoch: int
    to: PeerId
    to_node: PeerId
    sizes: tuple[int, ...]
    buffers: Buffers = NO_BUFFERS


@message(0x06)
class NoDetour:
    """Node -> node: what you relay by me does not get there: I do not reach that node either.

    Attributes:
        node: Which one is not reached.
    """

    node: PeerId
