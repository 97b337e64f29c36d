"""What one member has to tell others: each piece as often as the cluster is large.

Rules of this file: which news go on the next message. What is true is decided elsewhere; here a
newer word on a member takes the place of the older one of its kind.
"""

from typing import TypeAlias

from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen.wire.membership import MemberAlive, MemberDoubt
from zgen_node.limits import PIGGYBACK_BYTES_MAX, TRANSMITS_PER_DIGIT_COUNT

Word: TypeAlias = MemberAlive | MemberDoubt
Words: TypeAlias = tuple[tuple[MemberAlive, ...], tuple[MemberDoubt, ...]]

#: Bytes of a piece of news beside its endpoint and payload, at most.
_ALIVE_BYTES = 45
_DOUBT_BYTES = 48


@slotted
class Piece:
    """One piece of news.

    Attributes:
        word: It.
        size_bytes: Its bytes on the wire, at most.
        sent_count: How often it was sent.
    """

    word: Word
    size_bytes: int
    sent_count: int = 0


class News:
    """News that still have to be told."""

    def __init__(self) -> None:
        """Start without any."""
        #: Node and kind of word -> piece. Added by ``put``; removed by ``drop`` and when it was
        #: sent often enough.
        self._pieces: dict[tuple[PeerId, type], Piece] = {}
        #: Times sent -> those pieces, oldest first.
        self._levels: list[dict[tuple[PeerId, type], Piece]] = [{}]

    def __len__(self) -> int:
        """Return how many pieces there are."""
        return len(self._pieces)

    def put(self, word: Word) -> None:
        """Tell this from now on, instead of what was told of the same kind and member."""
        key = (word.node, type(word))
        self.drop(*key)
        piece = self._pieces[key] = self._levels[0][key] = Piece(word, size_of(word))
        assert piece.size_bytes <= PIGGYBACK_BYTES_MAX

    def has(self, node: PeerId, kind: type) -> bool:
        """Return whether there is news of this kind on a member."""
        return (node, kind) in self._pieces

    def drop(self, node: PeerId, kind: type) -> None:
        """Tell no more of this kind on a member."""
        piece = self._pieces.pop((node, kind), None)
        if piece is not None:
            del self._levels[piece.sent_count][(node, kind)]

    def clear(self) -> None:
        """Tell nothing any more."""
        self._pieces.clear()
        self._levels = [{}]

    def take(self, count: int, first: Word | None = None) -> Words:
        """Return news for one message and count them as sent.

        Args:
            count: Members of the cluster.
            first: What the receiver has to hear in any case.
        """
        alive: list[MemberAlive] = []
        doubts: list[MemberDoubt] = []
        room_bytes = PIGGYBACK_BYTES_MAX
        if first is not None:
            _sort(first, alive, doubts)
            room_bytes -= size_of(first)
        elif not self._pieces:
            return (), ()
        chosen: list[Piece] = []
        for level in self._levels:
            for piece in level.values():
                if piece.size_bytes > room_bytes:
                    break
                if piece.word is not first:
                    room_bytes -= piece.size_bytes
                    _sort(piece.word, alive, doubts)
                chosen.append(piece)
        limit = TRANSMITS_PER_DIGIT_COUNT * (1 + len(str(count)))
        for piece in chosen:
            self._sent(piece, limit)
        return tuple(alive), tuple(doubts)

    def check(self) -> None:
        """Assert the invariants."""
        assert sum(len(level) for level in self._levels) == len(self._pieces)
        for key, piece in self._pieces.items():
            assert self._levels[piece.sent_count][key] is piece
            assert key == (piece.word.node, type(piece.word))

    def _sent(self, piece: Piece, limit: int) -> None:
        key = (piece.word.node, type(piece.word))
        del self._levels[piece.sent_count][key]
        piece.sent_count += 1
        if piece.sent_count >= limit:
            del self._pieces[key]
            return
        if piece.sent_count == len(self._levels):
            self._levels.append({})
        self._levels[piece.sent_count][key] = piece


def size_of(word: Word) -> int:
    """Return the bytes of a piece of news on the wire, at most."""
    if isinstance(word, MemberAlive):
        return _ALIVE_BYTES + len(word.endpoint) + len(word.payload)
    return _DOUBT_BYTES


def _sort(word: Word, alive: list[MemberAlive], doubts: list[MemberDoubt]) -> None:
    if isinstance(word, MemberAlive):
        alive.append(word)
    else:
        doubts.append(word)
