"""A driver to be killed: starts a node, has its workers start processes, and prints who they are.

``python -m tests.chaos.starter WORKER_MAIN`` prints one JSON line and then sleeps, as does a fork
of it, which holds all that it holds.
"""

from __future__ import annotations

import json
import os
import sys
import time

from tests.integration.talker import Talker
from zgen.io.spawn import start_node
from zgen.wire.lease import LogLines


def main() -> None:
    node = start_node(2, worker_main=f"tests.integration.worker_mains:{sys.argv[1]}")
    talker = Talker(node.address, node.folder)
    talker.register()
    bred = [talker.hear(LogLines).lines[0] for _ in range(2)]
    fork = os.fork()
    if fork == 0:
        time.sleep(1000)
    facts = {
        "driver": os.getpid(),
        "fork": fork,
        "folder": node.folder,
        "supervisor": node.facts.supervisor,
        "daemon": node.facts.daemon,
        "workers": [int(line.split()[1]) for line in bred],
        "bred": [int(pid) for line in bred for pid in line.split()[2:]],
    }
    print(json.dumps(facts), flush=True)
    time.sleep(1000)


if __name__ == "__main__":
    main()
