"""Floors of the rows PI*."""

import os
import time

from scripts.benchmark import processes
from scripts.benchmark.rows.startup import import_seconds

Figures = dict[str, float]

_IMPORT = """
import time
began = time.perf_counter()
import zmq, msgpack, cloudpickle
print(time.perf_counter() - began)
"""


def pi1() -> Figures:
    """Import the three packages that zgen stands on."""
    return {"seconds": import_seconds(_IMPORT)}


def pi2() -> Figures:
    """Start a peer and ask it once."""
    began = time.perf_counter()
    from scripts.benchmark.floor.caller import Caller

    caller = Caller(peers=1, threaded=False)
    caller.send(0, ("task", 0))
    while 0 not in caller.done:
        caller.receive()
    elapsed_s = time.perf_counter() - began
    caller.close()
    return {"seconds": elapsed_s}


def pi3() -> Figures:
    """Sum up memory and threads of a caller, two peers, and one more in place of a daemon."""
    from scripts.benchmark.floor.caller import Caller

    caller = Caller(peers=3, threaded=True)
    time.sleep(5)
    pids = processes.family(os.environ[processes.MARK])
    figures = {
        "mbytes": processes.memory_bytes(pids) / 1e6,
        "threads": float(processes.thread_count(pids)),
        "processes": float(len(pids)),
    }
    caller.close()
    return figures
