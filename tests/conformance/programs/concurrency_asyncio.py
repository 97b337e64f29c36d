"""seed: __streaming_generator_concurrency_asyncio: many streams, and no blocked loop."""

import asyncio
import time
from collections.abc import Iterator

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(num_returns="streaming", num_cpus=0.25)
def slowly(name: int, count: int) -> Iterator[tuple[int, int]]:
    for number in range(count):
        time.sleep(0.05)
        yield name, number


async def read(name: int) -> list[tuple[int, int]]:
    return [await ref async for ref in slowly.remote(name, 6)]


async def main() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    beside = asyncio.create_task(others())
    results = await asyncio.gather(*[read(name) for name in range(6)])
    beside.cancel()
    assert results == [[(name, number) for number in range(6)] for name in range(6)]
    assert turns > 10


asyncio.run(main())
ray.shutdown()
