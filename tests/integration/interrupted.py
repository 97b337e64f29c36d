"""A driver to be sent SIGINTs: ``python -m tests.integration.interrupted SCENE FOLDER``.

It prints ``seen N`` when the next interrupt may come (N have been seen), and one JSON object at its
end. Nothing of its own bookkeeping can be torn: a reference that ``for`` has assigned is in hand,
and is put aside after an interrupt if it was not before.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zgen
from zgen.core.effects import Effect
from zgen.core.events import Event
from zgen.runtime import process, start
from zgen.testing import leaks


@zgen.remote
def ticks(stop: str, told: str) -> Iterator[int]:
    """Yield numbers in bursts until a file appears, 301 at least; leave their count in another."""
    count = 0
    while count <= 300 or not os.path.exists(stop):
        for _ in range(1 + count % 29):
            yield count
            count += 1
        time.sleep(0.002)
    Path(told).write_text(f"{count} {os.getpid()}")


@zgen.remote
def checked() -> int:
    """Check the machine of the worker that runs this."""
    assert process.current is not None
    with process.current.loop.lock:
        process.current.machine.check()
    return os.getpid()


@zgen.remote
def waits(gate: str) -> str:
    while not os.path.exists(gate):
        time.sleep(0.01)
    return "opened"


@zgen.remote(num_cpus=0)
def double(number: int) -> int:
    return 2 * number


class UserInterrupt(Exception):
    """What the program's own handler raises."""


class Scene:
    """What one run shares between its parts.

    Attributes:
        folder: Files for bodies.
        seen: Interrupts seen so far.
        refs: References of the stream in the order in which they came.
        ref: The one in hand.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.seen = 0
        self.refs: list[Any] = []
        self.ref: Any = None
        self.wrapped_asyncio = 0
        self.noted_in: Counter[str] = Counter()
        self.count_noted()
        self.gen = ticks.remote(str(self.folder / "stop"), str(self.folder / "told"))
        zgen.wait([self.gen])  # its worker runs: interrupts shall fall into a stream that flows

    def count_noted(self) -> None:
        """Count by call of zgen which interrupts came inside one, and were only noted there."""
        assert process.current is not None
        runtime = process.current

        def noted() -> None:
            frame, called = inspect.currentframe(), ""
            while frame is not None:
                if frame.f_globals["__name__"].startswith("zgen."):
                    called = frame.f_code.co_name
                frame = frame.f_back
            self.noted_in[called] += 1
            runtime.loop.wake()

        assert runtime.interrupts is not None
        runtime.interrupts.wake_by(noted)

    def tell(self) -> None:
        tell(f"seen {self.seen}")

    def keep(self) -> None:
        """Put the reference in hand aside, unless that was done."""
        if self.ref is not None and not (self.refs and self.refs[-1] is self.ref):
            self.refs.append(self.ref)

    def interrupted(self) -> None:
        self.seen += 1

    def consume(self) -> None:
        gen = self.gen
        for self.ref in gen:
            self.refs.append(self.ref)
            zgen.get(self.ref)
            sum(range(2000))  # the program's own code, to be interrupted as well

    def report(self) -> dict[str, Any]:
        runtime = process.current
        assert runtime is not None
        values = [zgen.get(ref) for ref in self.refs]
        count, worker = map(int, (self.folder / "told").read_text().split())
        checked_worker = zgen.get(checked.remote())
        with runtime.loop.lock:
            runtime.machine.check()
        return {
            "seen": self.seen,
            "noted_in": self.noted_in,
            "count": count,
            "missing": len(set(range(count)) - set(values)),
            "in_order": values == list(range(count)),
            "same_worker": worker == checked_worker,
            "wrapped_asyncio": self.wrapped_asyncio,
            "rescues": runtime.loop.rescues,
            "idle": runtime.waits.is_idle(),
        }


def tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def resumed(scene: Scene, kind: type[BaseException], consume: Callable[[], None]) -> None:
    """Run ``consume`` again after each interrupt, until it ends by itself."""
    while True:
        try:
            scene.keep()
            scene.tell()
            consume()
        except kind:
            scene.interrupted()
        else:
            return


def default(scene: Scene) -> None:
    resumed(scene, KeyboardInterrupt, scene.consume)


def raising(scene: Scene) -> None:
    def handler(*_: Any) -> None:
        raise UserInterrupt

    signal.signal(signal.SIGINT, handler)
    resumed(scene, UserInterrupt, scene.consume)


def counting(scene: Scene) -> None:
    def handler(*_: Any) -> None:
        scene.seen += 1
        scene.tell()

    signal.signal(signal.SIGINT, handler)
    scene.tell()
    scene.consume()


def asyncio_run(scene: Scene) -> None:
    """A fresh ``asyncio.run`` for each interrupt, which cancels its main task."""

    async def consume() -> None:
        zgen.wait([scene.gen])  # an entry: here the handler of this run is wrapped
        scene.wrapped_asyncio += wraps_asyncio()
        scene.keep()
        scene.tell()
        gen = scene.gen
        for scene.ref in gen:
            scene.refs.append(scene.ref)
            await asyncio.sleep(0)

    while True:
        # asyncio installs its handler where it finds Python's own.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            asyncio.run(consume())
        except KeyboardInterrupt:
            scene.interrupted()
        else:
            return


def awaiting(scene: Scene) -> None:
    """As ``asyncio_run``, with a consumer that awaits its items."""

    async def consume() -> None:
        scene.keep()
        scene.tell()
        gen = scene.gen
        async for scene.ref in gen:
            scene.refs.append(scene.ref)
            await scene.ref

    while True:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            asyncio.run(consume())
        except KeyboardInterrupt:
            scene.interrupted()
        else:
            return


def asyncio_blocked(scene: Scene) -> None:
    """The first interrupt cancels a task that cannot hear of it; the second ends its call."""

    async def block() -> None:
        gate = waits.options(num_cpus=0).remote(str(scene.folder / "gate"))
        scene.tell()
        zgen.get(gate)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        asyncio.run(block())
    except KeyboardInterrupt:
        scene.interrupted()
    scene.tell()
    (scene.folder / "gate").touch()
    (scene.folder / "stop").touch()
    scene.consume()


def wraps_asyncio() -> bool:
    assert process.current is not None
    interrupts = process.current.interrupts
    assert interrupts is not None
    assert interrupts._handler is not None
    wrapped = interrupts._handler.wrapped
    return (
        signal.getsignal(signal.SIGINT) is interrupts._handler
        and isinstance(wrapped, functools.partial)
        and isinstance(getattr(wrapped.func, "__self__", None), asyncio.Runner)
    )


def blocked(scene: Scene) -> None:
    """Interrupts into blocked calls of each kind."""
    gate = scene.folder / "gate"
    held = waits.options(num_cpus=0).remote(str(gate))
    quiet = held_stream.remote(str(gate))
    completed = quiet.completed()
    calls: list[Callable[[], Any]] = [
        lambda: zgen.get(held),
        lambda: zgen.get([held, held]),
        lambda: zgen.get(held, timeout=30),
        lambda: zgen.wait([held, quiet], num_returns=2),
        lambda: next(quiet),
        lambda: quiet.next(timeout=30),
        lambda: zgen.get(completed),
    ]
    for call in calls:
        try:
            scene.tell()
            call()
            raise AssertionError("a blocked call returned")
        except KeyboardInterrupt:
            scene.interrupted()
    scene.tell()
    gate.touch()
    assert zgen.get(held) == "opened"
    assert [zgen.get(ref) for ref in quiet] == ["opened"]
    (scene.folder / "stop").touch()
    scene.consume()


@zgen.remote(num_cpus=0)
def held_stream(gate: str) -> Iterator[str]:
    while not os.path.exists(gate):
        time.sleep(0.01)
    yield "opened"


def submitting(scene: Scene) -> None:
    """Interrupts into ``.remote()``: what was not handed over is freed."""
    refs: dict[int, Any] = {}
    number = 0
    while not (scene.folder / "stop").exists():
        try:
            scene.tell()
            while not (scene.folder / "stop").exists():
                number += 1
                refs[number] = double.remote(number)
                if len(refs) >= 100:
                    refs = wrong(refs)
        except KeyboardInterrupt:
            scene.interrupted()
    assert not wrong(refs)
    refs.clear()
    scene.consume()
    values = [zgen.get(each) for each in scene.refs]
    assert values == list(range(len(values)))
    runtime = process.current
    assert runtime is not None
    kept = {each.binary() for each in scene.refs}
    deadline = time.monotonic() + 10
    while left := [name for name in list(runtime.machine.owner.refs.records) if name not in kept]:
        assert time.monotonic() < deadline, f"{len(left)} objects are held by nobody in hand"
        time.sleep(0.01)


def own_code(scene: Scene) -> None:
    """Interrupts inside a call of zgen that only the program's own code follows."""
    assert process.current is not None
    loop = process.current.loop
    post = loop.post

    def post_and_interrupt(event: Event) -> list[Effect]:
        effects = post(event)
        os.kill(os.getpid(), signal.SIGINT)
        return effects

    for _ in range(5):
        try:
            vars(loop)["post"] = post_and_interrupt
            zgen.put(1)
            vars(loop).pop("post")
            time.sleep(10)
            raise AssertionError("the interrupt never came")
        except KeyboardInterrupt:
            vars(loop).pop("post", None)
            scene.interrupted()
            scene.tell()
    (scene.folder / "stop").touch()
    scene.consume()


def wrong(refs: dict[int, Any]) -> dict[int, Any]:
    """Return those whose value is not twice their number."""
    return {number: ref for number, ref in refs.items() if zgen.get(ref) != 2 * number}


def starting(_: str) -> None:
    """Interrupts into ``init`` and ``shutdown``: whatever they cut, nothing is left behind."""
    before = leaks.Snapshot.take()
    seen = {"init": 0, "shutdown": 0}
    for line in sys.stdin:
        part, last = line.split()[0], False
        try:
            if part == "shutdown":
                zgen.init(num_cpus=1)
                zgen.get(double.remote(1))
            tell("now")
            if part == "init":
                zgen.init(num_cpus=1)
                zgen.get(double.remote(1))
            last = True
            zgen.shutdown()
            time.sleep(60)  # the interrupt comes after all of it at the latest
        except KeyboardInterrupt:
            seen["shutdown" if last else "init"] += 1
        zgen.shutdown()
        assert process.current is None
        assert start.driver is None
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        tell(json.dumps(leaks.left_behind(before)))
    tell(json.dumps(seen))


SCENES: dict[str, Callable[[Scene], None]] = {
    "default": default,
    "raising": raising,
    "counting": counting,
    "asyncio": asyncio_run,
    "awaiting": awaiting,
    "asyncio_blocked": asyncio_blocked,
    "blocked": blocked,
    "submitting": submitting,
    "own_code": own_code,
}


def main(name: str, folder: str) -> None:
    if name == "starting":
        starting(folder)
        return
    zgen.init(num_cpus=1)
    scene = Scene(folder)
    SCENES[name](scene)
    tell(json.dumps(scene.report()))
    zgen.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
