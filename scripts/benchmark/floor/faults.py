"""Floors of the rows PF*."""

import contextlib
import multiprocessing
import os
import signal
import statistics
import time
from multiprocessing.connection import Connection

from scripts.benchmark.floor.caller import Caller, Stream
from scripts.benchmark.floor.peer import Peer
from scripts.benchmark.rows.faults import KILL_AT

Figures = dict[str, float]


def pf1() -> Figures:
    """Kill the peer of a stream, fork another from a warm zygote, and ask it for the stream."""
    ours, theirs = multiprocessing.Pipe()
    zygote = os.fork()
    if zygote == 0:  # before this process has a ZeroMQ context, which no fork survives
        ours.close()
        _fork_on_demand(theirs)
        os._exit(0)
    theirs.close()
    caller = Caller(peers=0, threaded=False)
    peer = _fork_peer(ours, caller)
    gaps_s = []
    for _ in range(5):
        _await_index(caller.open("paced", KILL_AT + 50, peer), KILL_AT)
        killed_s = time.perf_counter()
        os.kill(caller.pids[peer], signal.SIGKILL)
        ours.recv()  # the zygote's word that its child has ended
        peer = _fork_peer(ours, caller)
        _await_index(caller.open("paced", KILL_AT + 50, peer), KILL_AT + 1)
        gaps_s.append(time.perf_counter() - killed_s)
    os.kill(caller.pids[peer], signal.SIGKILL)
    ours.close()
    os.waitpid(zygote, 0)
    caller.close()
    return {"seconds": statistics.median(gaps_s)}


def _fork_on_demand(pipe: Connection) -> None:
    while True:
        try:
            caller, endpoint = pipe.recv()
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            Peer(caller, endpoint).serve()
        os.waitpid(child, 0)
        with contextlib.suppress(BrokenPipeError):
            pipe.send("ended")


def _fork_peer(pipe: Connection, caller: Caller) -> int:
    endpoint = f"{caller.endpoint}{len(caller.pids)}"
    pipe.send((caller.endpoint, endpoint))
    return caller.await_peer()


def _await_index(items: Stream, index: int) -> None:
    for ref in items:
        if ref.get()[0] == index:
            return
    raise RuntimeError(f"the stream ended before item {index}")
