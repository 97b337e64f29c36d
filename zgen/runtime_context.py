"""`get_runtime_context`: what code can learn of the task, actor, job and node that it runs in."""

from typing import Any

from zgen.actor_handle import ActorHandle, described
from zgen.io.actor_runner import HostedActor
from zgen.runtime import start
from zgen.runtime.process import Runtime


class RuntimeContext:
    """Where the calling code runs. Ids are hex digits."""

    def __init__(self, runtime: Runtime) -> None:
        """Made by ``get_runtime_context``."""
        self._runtime = runtime

    def get_job_id(self) -> str:
        """Return the id of the job."""
        return self._runtime.job.hex()

    def get_node_id(self) -> str:
        """Return the id of the node."""
        node = self._runtime.machine.node
        return node.hex() if node is not None else ""

    def get_worker_id(self) -> str:
        """Return the id of this process."""
        return self._runtime.machine.session.identity.address.peer.hex()

    def get_task_id(self) -> str | None:
        """Return the id of the running task or call; None in a driver."""
        runtime = self._runtime
        context = runtime.context
        return None if context is runtime.root else context.task.hex()

    def get_task_name(self) -> str | None:
        """Return what messages call the running task or call; None in a driver.

        The function, or class and method, or the ``name`` that it was given by ``options``.
        """
        runtime = self._runtime
        context = runtime.context
        return None if context is runtime.root else context.name

    def get_actor_id(self) -> str | None:
        """Return the id of this process's actor, or None."""
        actor = self._actor
        return None if actor is None else actor.actor.hex()

    def get_actor_name(self) -> str | None:
        """Return the name of this process's actor, empty if it has none; None without an actor."""
        actor = self._actor
        return None if actor is None else actor.settings.name

    def is_canceled(self) -> bool:
        """Return whether the running task or call was cancelled, and should end by itself.

        A method of a regular or threaded actor is not interrupted: it may ask this between two
        pieces of its work. Whatever it returns is dropped.

        Raises:
            RuntimeError: In a driver, which nobody cancels, and in an async actor, where
                ``asyncio.CancelledError`` is raised instead.
        """
        runner, actor = self._runtime.runner, self._actor
        if runner is None:
            raise RuntimeError("a driver cannot be cancelled")
        if actor is not None and actor.settings.is_async:
            text = "calls of an async actor are cancelled by asyncio.CancelledError"
            raise RuntimeError(f"{text}; catch that, or use finally")
        context = self._runtime.context
        return runner.cancels.is_cancelled(context.task, context.attempt)

    @property
    def namespace(self) -> str:
        """The namespace in which names of actors count that are given without one."""
        return self._runtime.questions.namespace

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this process's actor has been restarted.

        Raises:
            RuntimeError: This process has none.
        """
        return self._require().life > 0

    @property
    def current_actor(self) -> ActorHandle:
        """A handle of this process's actor; it does not keep the actor alive.

        Raises:
            RuntimeError: This process has none.
        """
        actor = self._require()
        with self._runtime.loop.lock:
            creator = self._runtime.machine.session.address_of(actor.creator)
        return ActorHandle(actor.actor, creator, actor.settings.description, None)

    def get(self) -> dict[str, Any]:
        """Return all of it by name, without what is not there."""
        found = {
            "job_id": self.get_job_id(),
            "node_id": self.get_node_id(),
            "worker_id": self.get_worker_id(),
            "task_id": self.get_task_id(),
            "actor_id": self.get_actor_id(),
        }
        return {name: value for name, value in found.items() if value is not None}

    def __repr__(self) -> str:
        """Show all of it."""
        actor = self._actor
        what = f", class={described(actor.settings.description).name}" if actor else ""
        return f"RuntimeContext({self.get()}{what})"

    @property
    def _actor(self) -> HostedActor | None:
        runner = self._runtime.runner
        return None if runner is None else runner.actor

    def _require(self) -> HostedActor:
        actor = self._actor
        if actor is None:
            raise RuntimeError("this is not an actor: the code does not run in one's process")
        return actor


def get_runtime_context() -> RuntimeContext:
    """Return what is known of where the calling code runs.

    Raises:
        NodeStartError: zgen does not run here, and could not be started.
    """
    return RuntimeContext(start.ensure())
