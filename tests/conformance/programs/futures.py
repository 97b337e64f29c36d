"""A reference as a future of concurrent.futures and of asyncio."""

import asyncio
import concurrent.futures
import threading

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote
def double(number: int) -> int:
    return 2 * number


@ray.remote(max_retries=0)
def fail() -> None:
    raise LookupError("nothing there")


future = double.remote(4).future()
assert isinstance(future, concurrent.futures.Future)
assert future.result(30) == 8
told = threading.Event()
double.remote(1).future().add_done_callback(lambda _: told.set())
assert told.wait(30)
assert isinstance(fail.remote().future().exception(30), LookupError)


async def main() -> None:
    futures = [asyncio.wrap_future(double.remote(n).future()) for n in range(20)]
    assert await asyncio.gather(*futures) == [2 * n for n in range(20)]
    assert await asyncio.gather(*[double.remote(n) for n in range(20)]) == [
        2 * n for n in range(20)
    ]
    results = await asyncio.gather(double.remote(1), fail.remote(), return_exceptions=True)
    assert results[0] == 2
    assert isinstance(results[1], LookupError)
    done, pending = await asyncio.wait([double.remote(3).as_future()], timeout=30)
    assert [each.result() for each in done] == [6]
    assert not pending
    assert await asyncio.wait_for(double.remote(5), 30) == 10


asyncio.run(main())
ray.shutdown()
