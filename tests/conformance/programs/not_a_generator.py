"""Streaming is for generator functions: anything else is refused when it is declared."""

from collections.abc import Iterator
from typing import Any

import ray


def plain() -> int:
    return 1


def generator() -> Iterator[int]:
    yield 1


def refused(declare: Any, kind: type[Exception]) -> None:
    try:
        declare()
    except kind:
        return
    raise AssertionError("it was not refused")


ray.init(num_cpus=1, log_to_driver=False)
refused(lambda: ray.remote(num_returns="streaming")(plain), ValueError)
remote = ray.remote(plain)
refused(lambda: remote.options(num_returns="streaming").remote(), ValueError)
refused(lambda: remote(), TypeError)
assert ray.get(remote.remote()) == 1
assert [ray.get(r) for r in ray.remote(generator).options(num_returns="streaming").remote()] == [1]
ray.shutdown()
