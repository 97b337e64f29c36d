"""What is known of the copies of one region: which nodes have one, and who may copy it.

Rules of this file: looks at records of regions, and changes nothing.
"""

from zgen.ids import PeerId
from zgen.limits import COPIES_TOLD_COUNT_MAX
from zgen.wire.store import NODE_GONE, RegionsHeld
from zgen_node.core.elsewhere import Elsewhere
from zgen_node.core.object_table import Region, RegionState


def may_copy(region: Region) -> bool:
    """Return whether another node may copy what lies here: of copies, one that is finished."""
    return not region.is_copy or region.state is RegionState.MEMORY


def is_left(region: Region, elsewhere: Elsewhere) -> bool:
    """Return whether a copy is here whole whose node is gone, so that readers may have it."""
    whole = region.is_copy and region.state is RegionState.MEMORY
    return whole and elsewhere.why_lost(region.region) == NODE_GONE


def for_copier(
    held: RegionsHeld, region: Region | None, peer: PeerId, elsewhere: Elsewhere
) -> RegionsHeld:
    """Tell a node that holds a region who owns it, and of some others that have made a copy.

    Args:
        held: What it is told; of copies the latest come first.
        region: Which region.
        peer: Who is told; a process needs to know nothing of this.
        elsewhere: Other nodes.
    """
    if region is None or not (region.copied_to or region.is_copy) or not elsewhere.is_node(peer):
        return held
    made = [node for node, is_made in region.copied_to.items() if is_made and node != peer]
    living = [node for node in reversed(made) if elsewhere.is_node(node)]
    copies, owner = tuple(living[:COPIES_TOLD_COUNT_MAX]), elsewhere.owner_of(region)
    return RegionsHeld(held.request, held.regions, (), "", copies=copies, owner=owner)
