"""What befalls messages on purpose: rules, dice, and what is done to each."""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # loaded by who has rules
    from zgen.mishaps.rules import Rules

#: Environment variable with the rules of a process, of its node's daemon and workers too.
VARIABLE: Final = "ZGEN_CHAOS"
#: In the session folder of a node: where its processes count what was hit.
REPORT_FOLDER: Final = "chaos"
#: Beside it: rules that are set while they run, in place of those that they began with.
LIVE_RULES_FILE: Final = "chaos.json"


def rules_given() -> "Rules | None":
    """Return the rules of this process; None if the environment has none.

    Raises:
        ValueError: They make no sense; the message names the key.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    from zgen.mishaps.rules import parse

    return parse(text)
