"""What is known of the copies of one region: which nodes have one, and who may copy it.

Rules of this file: looks at records of regions, and changes nothing.
"""

from collections.abc import Callable

from zgen.ids import PeerId
from zgen.limits import COPIES_TOLD_COUNT_MAX
from zgen_node.core.object_table import Region, RegionState


def may_copy(region: Region) -> bool:
    """Return whether another node may copy what lies here: of copies, one that is finished."""
    return not region.is_copy or region.state is RegionState.MEMORY


def nodes_with_copies(
    region: Region, peer: PeerId, is_node: Callable[[PeerId], bool]
) -> tuple[PeerId, ...]:
    """Return some other nodes that have made a copy, the latest first, for a node that wants one.

    Args:
        region: Of which region.
        peer: Who is told.
        is_node: Whether somebody is a node that lives.
    """
    if not region.copied_to or not is_node(peer):
        return ()
    made = [node for node, is_made in region.copied_to.items() if is_made and node != peer]
    return tuple([node for node in reversed(made) if is_node(node)][:COPIES_TOLD_COUNT_MAX])
