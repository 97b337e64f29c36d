"""The mailbox of a process: a plain one, or one that harms messages by the rules of ZGEN_CHAOS."""

from zgen.io.exposure import Exposure
from zgen.io.mailbox import Mailbox
from zgen.mishaps import rules_given


def open_mailbox(endpoint: str, exposure: Exposure | None, role: str, folder: str) -> Mailbox:
    """Return the mailbox of a process of a node.

    Args:
        endpoint: Where.
        exposure: How other machines reach it too; None if they do not.
        role: ``daemon``, ``worker`` or ``driver``.
        folder: Session folder of the node.

    Raises:
        NodeStartError: The endpoint cannot be bound.
        ValueError: The rules make no sense.
    """
    rules = rules_given()
    if rules is None:
        return Mailbox(endpoint, exposure)
    from zgen.io.harmed_mailbox import HarmedMailbox

    return HarmedMailbox(endpoint, exposure, rules, role, folder)
