"""Floors of the rows PT*."""

import time

from scripts.benchmark.floor.caller import Caller

Figures = dict[str, float]


def pt1() -> Figures:
    """Ask a peer and wait for its answer, with the caller itself receiving."""
    caller = Caller(peers=1, threaded=False)
    for number in range(200):
        _call(caller, number)
    count = 0
    began = time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < 1.5:
        _call(caller, count)
        count += 1
    caller.close()
    return {"rate": count / elapsed_s}


def pt2() -> Figures:
    """Send 5,000 messages to two peers, then wait until every one is answered."""
    caller = Caller(peers=2, threaded=False)
    _pipelined(caller, 500)
    began = time.perf_counter()
    _pipelined(caller, 5_000)
    elapsed_s = time.perf_counter() - began
    caller.close()
    return {"rate": 5_000 / elapsed_s}


def _call(caller: Caller, number: int) -> None:
    caller.send(0, ("task", number))
    while number not in caller.done:
        caller.receive()
    del caller.done[number]


def _pipelined(caller: Caller, count: int) -> None:
    for number in range(count):
        caller.send(number % 2, ("task", number))
    while len(caller.done) < count:
        caller.receive()
    caller.done.clear()
