"""Floors of the rows PA*: one peer that answers, whatever kind of actor it stands for."""

import time

from scripts.benchmark.floor.caller import Caller
from scripts.benchmark.rows.actors import PIPELINED

Figures = dict[str, float]
#: Questions on their way at a time: more than the queues of both sockets hold would wait for ever.
_UNANSWERED_MAX = 500


def pa1() -> Figures:
    """Ask a peer, one question after the other, and many before the first answer is awaited."""
    caller = Caller(peers=1, threaded=False)
    _ask(caller, 200)
    count = 0
    began = time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < 1.5:
        _ask(caller, 1)
        count += 1
    figures = {"sync": count / elapsed_s, "pipelined": _rate(caller)}
    caller.close()
    return figures


def pa2() -> Figures:
    """Ask a peer many questions before the first answer is awaited."""
    caller = Caller(peers=1, threaded=False)
    _ask(caller, 500)
    rate = _rate(caller)
    caller.close()
    return {"rate": rate}


def _rate(caller: Caller) -> float:
    began = time.perf_counter()
    _ask(caller, PIPELINED)
    return PIPELINED / (time.perf_counter() - began)


def _ask(caller: Caller, count: int) -> None:
    for number in range(count):
        caller.send(0, ("task", number))
        while number - len(caller.done) >= _UNANSWERED_MAX:  # both ends' queues are bounded
            caller.receive()
    while len(caller.done) < count:
        caller.receive()
    caller.done.clear()
