"""How fast membership is: `lan`, and `fast` for tests; who the member is."""

from dataclasses import fields

from zgen.ids import PeerId
from zgen.slotted import slotted
from zgen_node.limits import (
    GOSSIP_DELAY_NS,
    GOSSIP_PERIOD_NS,
    GRAVE_FRESH_NS,
    JOIN_RETRY_FIRST_NS,
    JOIN_RETRY_NS_MAX,
    LINK_BROKEN_NS,
    PROBE_PERIOD_NS,
    PROBE_TRY_NS,
    REPAIR_PERIOD_NS,
    SUSPECT_AGAIN_NS,
    SUSPICION_NS_MAX,
    SUSPICION_NS_MIN,
)


@slotted
class Profile:
    """Times in nanoseconds; what each is for stands in ``zgen.limits``."""

    period_ns: int = PROBE_PERIOD_NS
    try_ns: int = PROBE_TRY_NS
    suspicion_ns_min: int = SUSPICION_NS_MIN
    suspicion_ns_max: int = SUSPICION_NS_MAX
    suspect_again_ns: int = SUSPECT_AGAIN_NS
    gossip_delay_ns: int = GOSSIP_DELAY_NS
    gossip_period_ns: int = GOSSIP_PERIOD_NS
    repair_period_ns: int = REPAIR_PERIOD_NS
    grave_fresh_ns: int = GRAVE_FRESH_NS
    link_broken_ns: int = LINK_BROKEN_NS
    join_retry_first_ns: int = JOIN_RETRY_FIRST_NS
    join_retry_ns_max: int = JOIN_RETRY_NS_MAX


def lan() -> Profile:
    """Return the default: dead within 6 to 10 s of silence."""
    return Profile()


def fast() -> Profile:
    """Return the profile of tests: every time a fifth."""
    usual = Profile()
    return Profile(*(getattr(usual, field.name) // 5 for field in fields(Profile)))


@slotted
class Candidate:
    """Who wants to be a member, and of what.

    Attributes:
        node: The id of this node, never used before.
        endpoint: Where it takes in probes.
        cluster: Name of the cluster.
        python: ``major.minor`` of the interpreter.
        release: Version of zgen.
        seed: Drawn at the start of the process; makes this member choose otherwise than others.
    """

    node: PeerId
    endpoint: str
    cluster: str
    python: str
    release: str
    seed: bytes
