"""`exit_actor`: what only a method of an actor may ask for."""

from typing import NoReturn

from zgen.io import actor_runner
from zgen.runtime import process


def exit_actor() -> NoReturn:
    """End the actor whose method calls this, on purpose: it is not restarted.

    The running calls and the waiting ones fail with ``ActorDiedError``; what ``atexit`` was given
    runs. It works by raising ``SystemExit``, which must not be caught.

    Raises:
        SystemExit: Always, inside an actor.
        TypeError: This is not a method of an actor.
    """
    runtime = process.current
    if runtime is None or runtime.runner is None or runtime.runner.actor is None:
        raise TypeError("exit_actor() is for methods of actors")
    actor_runner.exit_now()
