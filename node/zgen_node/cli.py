"""Arguments to `DaemonConfig`."""

import sys

_USAGE = "zgen starts this itself; use `zgen node start`"


def main(arguments: list[str]) -> int:
    """Be the process that ``arguments`` name, and return its exit status.

    Each of them loads its own part only: what they import decides how fast a node starts.
    """
    match arguments:
        case ["supervise", config]:
            from zgen_node.io.config import DaemonConfig
            from zgen_node.supervisor import supervise

            return supervise(DaemonConfig.parse(config))
        case ["zygote", facts]:
            from zgen_node import zygote

            return zygote.main(facts)
        case _:
            print(_USAGE, file=sys.stderr)
            return 2
