"""Words of processes about regions of nodes that are not members yet, kept until these are.

Rules of this file: keeps them in order, for how long, and how many. What they mean is not known.

Theory of operation. A process may hear of a value on a node before membership tells this node of
that one. What it says of the value waits for that, but not for long.
"""

from typing import Any

from zgen.core.deadlines import Deadlines
from zgen.ids import PeerId
from zgen.limits import NODE_UNKNOWN_NS, NODES_GONE_COUNT_MAX, WORDS_EARLY_COUNT_MAX

Word = tuple[PeerId, Any]


class EarlyWords:
    """All of them.

    Attributes:
        deadlines: When a node should be known, by its tag.
        late: Tags of nodes that were not known in time; the oldest go beyond the bound.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.deadlines: Deadlines[int] = Deadlines()
        self.late: dict[int, None] = {}
        self._count = 0
        #: Tag of a node -> who said what.
        self._words: dict[int, list[Word]] = {}

    def keep(self, tag: int, peer: PeerId, said: Any, now_ns: int) -> bool:
        """Keep a word until a node is known; return False if there are too many already."""
        if self._count >= WORDS_EARLY_COUNT_MAX:
            return False
        self._count += 1
        self._words.setdefault(tag, []).append((peer, said))
        self.deadlines.set_if_unset(tag, now_ns + NODE_UNKNOWN_NS)
        return True

    def give_up(self, now_ns: int) -> list[int]:
        """Return the tags of nodes that are not waited for any more, nor from now on.

        So who waits for two of them waits for each once.
        """
        tags = self.deadlines.pop_due(now_ns)
        for tag in tags:
            self.late[tag] = None
            if len(self.late) > NODES_GONE_COUNT_MAX:
                del self.late[next(iter(self.late))]
        return tags

    def take(self, tag: int) -> list[Word]:
        """Return what waits for a node, which is known now or never will be."""
        self.deadlines.clear(tag)
        words = self._words.pop(tag, [])
        self._count -= len(words)
        return words

    def drop(self, peer: PeerId) -> None:
        """Forget what a dead process said."""
        for tag, words in list(self._words.items()):
            left = [word for word in words if word[0] != peer]
            self._count -= len(words) - len(left)
            words[:] = left
            if not left:
                del self._words[tag]
                self.deadlines.clear(tag)

    def check(self) -> None:
        """Assert that all are counted, and none waits for ever."""
        assert self._count == sum(map(len, self._words.values()))
        for tag, words in self._words.items():
            assert words, tag
            assert tag in self.deadlines, tag
