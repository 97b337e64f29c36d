"""Rows PA*: calls of actors that do nothing."""

import time
from typing import Any

from scripts.benchmark.rows.bodies import async_actor, regular_actor
from scripts.benchmark.subject import Subject

Figures = dict[str, float]

#: Calls that are made before any is waited for.
PIPELINED = 5_000


def pa1(subject: Subject) -> Figures:
    """Call a regular actor, one call after the other, and many before the first is got."""
    subject.start()
    actor, get = subject.api.remote(regular_actor()).remote(), subject.api.get
    for _ in range(200):
        get(actor.idle.remote())
    count = 0
    began = time.perf_counter()
    while (elapsed_s := time.perf_counter() - began) < 1.5:
        get(actor.idle.remote())
        count += 1
    figures = {"sync": count / elapsed_s, "pipelined": _pipelined(subject, actor)}
    subject.stop()
    return figures


def pa2(subject: Subject) -> Figures:
    """Call an async actor, many calls before the first is got."""
    subject.start()
    rate = _pipelined(subject, subject.api.remote(async_actor()).remote())
    subject.stop()
    return {"rate": rate}


def pa3(subject: Subject) -> Figures:
    """Create an actor and get the result of its first call, one after the other."""
    subject.start()
    cls, get, count = subject.api.remote(regular_actor()), subject.api.get, 10
    kept = [cls.remote()]
    get(kept[0].idle.remote())
    began = time.perf_counter()
    for _ in range(count):
        kept.append(cls.remote())
        get(kept[-1].idle.remote())
    elapsed_s = time.perf_counter() - began
    subject.stop()
    return {"ms": elapsed_s / count * 1e3}


def _pipelined(subject: Subject, actor: Any) -> float:
    get = subject.api.get
    get([actor.idle.remote() for _ in range(500)])
    began = time.perf_counter()
    get([actor.idle.remote() for _ in range(PIPELINED)])
    return PIPELINED / (time.perf_counter() - began)
