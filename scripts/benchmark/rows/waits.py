"""Rows PW*: waiting for whichever of many streams has something."""

import time

from scripts.benchmark.rows.bodies import async_actor
from scripts.benchmark.subject import Subject

Figures = dict[str, float]

#: Streams that are waited for at a time, and how long that goes on at most.
STREAMS, LIMIT_S = 1_000, 3.0


def pw1(subject: Subject) -> Figures:
    """Take the items of 1,000 streams of one async actor one by one, whichever is there first."""
    subject.start()
    api = subject.api
    numbers = api.remote(async_actor()).remote().numbers.options(num_returns="streaming")
    streams = [numbers.remote(subject.many(ray=5, zgen=40)) for _ in range(STREAMS)]
    api.wait(streams, num_returns=STREAMS, timeout=60)  # each has its first item
    count = 0
    began = time.perf_counter()
    while streams and time.perf_counter() - began < LIMIT_S:
        (stream,), _ = api.wait(streams, num_returns=1, timeout=60)
        streams.remove(stream)
        ref = next(stream, None)
        if ref is not None:
            api.get(ref)
            count += 1
            streams.append(stream)  # the others have their turn first
    elapsed_s = time.perf_counter() - began
    subject.stop()
    return {"rate": count / elapsed_s}
