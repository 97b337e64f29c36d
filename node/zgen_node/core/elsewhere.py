"""What the store of a node needs to know of other nodes."""

from typing import TYPE_CHECKING, Protocol

from zgen.core.effects import Effect
from zgen.ids import PeerId
from zgen.wire.session import Address

if TYPE_CHECKING:
    from zgen_node.core.object_table import Region


class Elsewhere(Protocol):
    """Other nodes, as far as the store of this one has to do with them."""

    def is_node(self, peer: PeerId) -> bool:
        """Return whether a peer is another node."""

    def node_of(self, process: PeerId) -> PeerId | None:
        """Return the node of a process of another node whose end will be told here, or None."""

    def why_lost(self, region: int) -> str:
        """Return why there is no such region."""

    def owner_of(self, region: "Region") -> tuple[Address, ...]:
        """Return who owns the value in a region, if that is known."""

    def died(self, process: PeerId) -> None:
        """A process is dead, or a node gone: nothing is kept elsewhere for it."""

    def pull(self, region: "Region", now_ns: int, out: list[Effect]) -> None:
        """Copy a region of another node to its place; ``Storage.on_restored`` follows."""
