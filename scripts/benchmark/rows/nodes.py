"""Rows PN*: values that lie on other nodes.

Ray has no part in them: its nodes need machines of their own.
"""

import importlib
import os
import statistics
import tempfile
import time
from typing import Any

from scripts.benchmark.rows.objects import LARGE_BYTES
from scripts.benchmark.subject import Subject

Figures = dict[str, float]

#: Copies that only make pages and connections.
_FIRST = 2


def pn1(subject: Subject) -> Figures:
    """Get 100 MB that a task has returned on another node, without a key and under CURVE."""
    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "key")
        importlib.import_module("zgen.io.keys").generate().write(key)
        return {"plain": _gbytes(subject, None), "locked": _gbytes(subject, key)}


def _gbytes(subject: Subject, key: str | None) -> float:
    """Start another node, join it, and get what lies there again and again."""
    exposure, spawn = (importlib.import_module(f"zgen.io.{name}") for name in ("exposure", "spawn"))
    opening = exposure.check_opening("tcp://127.0.0.1:*", None, key, insecure=False)
    node = spawn.start_node(1, {}, opening=opening)
    api = subject.api
    api.init(address=node.facts.address.tcp, **({} if key is None else {"key": key}))
    try:
        task = subject.task(_made())
        took_s = []
        for _ in range(12):
            ref = task.remote()
            api.wait([ref], fetch_local=False)  # which would copy it
            began = time.perf_counter()
            value = api.get(ref)
            took_s.append(time.perf_counter() - began)
            if value.nbytes != LARGE_BYTES:
                raise RuntimeError(f"{value.nbytes} bytes came")
            del ref, value
            time.sleep(0.1)
    finally:
        subject.stop()
        node.stop()
    return LARGE_BYTES / statistics.median(took_s[_FIRST:]) / 1e9


def _made() -> Any:
    """Make a task that returns the same large array each time."""
    kept: list[Any] = []

    def large() -> Any:
        if not kept:
            kept.append(importlib.import_module("numpy").ones(100_000_000 // 8))
        return kept[0]

    return large
