"""An actor whose worker dies is restarted; its retried calls and streams go on."""

import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import ray

ray.init(num_cpus=2, log_to_driver=False)


@ray.remote(max_restarts=1, max_task_retries=1)
class Fragile:
    def numbers(self, count: int, once: str) -> Iterator[int]:
        for number in range(count):
            if number == count // 2 and not os.path.exists(once):
                pathlib.Path(once).touch()
                os._exit(1)
            yield number

    def again(self) -> bool:
        return bool(ray.get_runtime_context().was_current_actor_reconstructed)

    def die(self) -> None:
        os._exit(1)


cls: Any = Fragile
with tempfile.TemporaryDirectory() as folder:
    actor = cls.remote()
    stream = actor.numbers.remote(10, f"{folder}/once")
    assert [ray.get(ref) for ref in stream] == list(range(10))
    assert ray.get(actor.again.remote())
    try:
        ray.get(actor.die.remote())
    except ray.exceptions.RayActorError:
        pass
    else:
        raise AssertionError("it lives on")
ray.shutdown()
