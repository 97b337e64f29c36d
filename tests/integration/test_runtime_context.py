"""What code learns of the task, the actor and the node that it runs in."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import zgen
from tests.integration.remote_class import RemoteClass

pytestmark = pytest.mark.usefixtures("runtime")


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


def test_the_runtime_context_tells_where_code_runs() -> None:
    @zgen.remote
    class Knows(RemoteClass):
        def tell(self) -> tuple[Any, ...]:
            here = zgen.get_runtime_context()
            actor = here.current_actor
            return (
                here.get_actor_id(),
                here.get_task_id(),
                here.get_job_id(),
                here.get_node_id(),
                here.get_actor_name(),
                here.was_current_actor_reconstructed,
                repr(actor),
            )

        def call_itself(self) -> Any:
            return zgen.get_runtime_context().current_actor.tell.options(num_returns=0).remote()

    knows, driver = Knows.remote(), zgen.get_runtime_context()
    ref = knows.tell.remote()
    actor, task, job, node, name, again, shown = get(ref)
    assert (actor, task) == (knows._actor_id, ref.task_id().hex())
    assert (job, node) == (driver.get_job_id(), driver.get_node_id())
    assert (name, again, shown) == ("", False, repr(knows))
    assert get(knows.call_itself.remote()) is None
    assert driver.get_actor_id() is None
    assert driver.get_task_id() is None
    with pytest.raises(RuntimeError):
        driver.was_current_actor_reconstructed  # noqa: B018  # it raises
    here = zgen.remote(lambda: zgen.get_runtime_context().get())
    found = get(here.remote())
    assert "actor_id" not in found
    assert found["job_id"] == driver.get_job_id()


def test_threads_of_a_method_submit_in_its_name() -> None:
    @zgen.remote
    class Starts(RemoteClass):
        def work(self) -> list[Any]:
            found: list[Any] = []

            def other() -> None:
                found.append(zgen.get_runtime_context().get_task_id())
                found.append(zgen.get(zgen.remote(lambda: 5).remote()))

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            return found

    starts = Starts.remote()
    ref = starts.work.remote()
    assert get(ref) == [ref.task_id().hex(), 5]


def test_a_task_knows_its_name() -> None:
    @zgen.remote
    def who() -> Any:
        return zgen.get_runtime_context().get_task_name()

    @zgen.remote
    class Named(RemoteClass):
        def __init__(self) -> None:
            self.made_by = zgen.get_runtime_context().get_task_name()

        def who(self) -> Any:
            return zgen.get_runtime_context().get_task_name()

        def maker(self) -> Any:
            return self.made_by

    @zgen.remote
    class AsyncNamed(RemoteClass):
        async def who(self) -> Any:
            return zgen.get_runtime_context().get_task_name()

    assert get([who.remote(), who.options(name="an errand").remote()]) == ["who", "an errand"]
    named, threaded = Named.remote(), Named.options(max_concurrency=2).remote()
    calls = [named.who.remote(), threaded.who.remote(), AsyncNamed.remote().who.remote()]
    assert get(calls) == ["Named.who", "Named.who", "AsyncNamed.who"]
    assert get(named.who.options(name="asked").remote()) == "asked"
    assert get(named.maker.remote()) == "Named.__init__"
    assert zgen.get_runtime_context().get_task_name() is None
