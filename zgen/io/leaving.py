"""Nodes of this machine that leave their cluster: told to drain, and waited for."""

import os
import select
from collections.abc import Callable
from contextlib import suppress

from zgen.exceptions import NodeStartError
from zgen.io.clock import now_ns
from zgen.io.inquiry import query_node
from zgen.io.spawn import NodeFacts
from zgen.limits import DRAIN_END_NS, DRAIN_SECONDS_COUNT_MAX, NODE_STOP_NS, SECOND

#: How often a node is asked what it waits for.
_LOOK_MS = 500
#: How long it may take to answer, in seconds: it may end while it is asked.
_ANSWER_S = 0.5


def check_patience(patience_s: float) -> None:
    """Check how long a node is to wait for what runs there.

    Raises:
        ValueError: It is out of range.
    """
    if not 0 <= patience_s <= DRAIN_SECONDS_COUNT_MAX:
        raise ValueError(
            f"a deadline is between 0 and {DRAIN_SECONDS_COUNT_MAX} s, got {patience_s:g}"
        )


def await_drained(node: NodeFacts, patience_s: float, tell: Callable[[str], None]) -> bool:
    """Wait until the processes of a node are gone that was told to drain; return whether they are.

    Args:
        node: Which one.
        patience_s: After how long it ends what still runs.
        tell: Told what it waits for, whenever that is something else.
    """
    try:
        supervisor = os.pidfd_open(node.supervisor)
    except ProcessLookupError:
        return True
    try:
        until_ns = now_ns() + round(patience_s * SECOND) + DRAIN_END_NS + 2 * NODE_STOP_NS
        told = ""
        while not _is_over(supervisor, _LOOK_MS):
            if now_ns() >= until_ns:
                return False
            with suppress(NodeStartError):  # it is about to end
                state = query_node(node.address, node.folder, _ANSWER_S)
                waits_for = state.get("draining", {}).get("waits_for", "")
                if waits_for != told:
                    tell(waits_for)
                told = waits_for
        return True
    finally:
        os.close(supervisor)


def _is_over(pidfd: int, within_ms: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(within_ms))
