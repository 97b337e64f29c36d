"""Questions about names that keepers are asked, and why some have no answer.

Rules of this file: what is known of one question. Who asks what, and when a word is enough, is
decided in ``naming``.
"""

from typing import Final

from zgen.ids import PeerId
from zgen.limits import NAMES_COUNT_MAX
from zgen.slotted import slotted
from zgen.wire.naming import NameWord
from zgen_node.core.names import Named

CUT_OFF: Final = "this node is cut off from the majority of the cluster, which alone gives names"
NO_KEEPERS: Final = "too many of the nodes that keep the name are dead or cut off"
BUSY: Final = "this node has more questions about names than it can ask at a time"
BEYOND: Final = f"there are {NAMES_COUNT_MAX} names already"
#: What a question to keepers says when nobody waits for the answer.
NO_QUERY: Final = 0


@slotted
class Asking:
    """One question of a process of this node that keepers are asked.

    Attributes:
        asker: Who asked.
        query: Its number there.
        key: Namespace and name.
        named: The claim, or None if the name is looked up.
        until_ns: When it is given up.
        group: The keepers that this round asks.
        words: What those said that have.
        waits: How many rounds had no answer that counts.
    """

    asker: PeerId
    query: int
    key: tuple[str, str]
    named: Named | None
    until_ns: int
    group: tuple[PeerId, ...]
    words: dict[PeerId, NameWord]
    waits: int = 0
