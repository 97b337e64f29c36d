"""Names of actors: one owner each, found from everywhere, free again when the actor is dead."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

import zgen
from tests.integration import scripts
from tests.integration.gates import Gate
from tests.integration.remote_class import RemoteClass
from tests.integration.watching import is_alive, wait_until
from zgen.exceptions import ActorAlreadyExistsError, ActorDiedError
from zgen.runtime.process import Runtime

pytestmark = pytest.mark.usefixtures("runtime")


def get(refs: Any) -> Any:
    return zgen.get(refs, timeout=20)


@zgen.remote
class Named(RemoteClass):
    def __init__(self, number: int = 0) -> None:
        self.number = number

    def add(self) -> int:
        self.number += 1
        return self.number

    def pid(self) -> int:
        return os.getpid()

    def names(self) -> tuple[Any, ...]:
        here = zgen.get_runtime_context()
        return here.get_actor_name(), here.namespace

    def wait(self, gate: Gate) -> None:
        gate.wait()

    def leave(self) -> None:
        zgen.actor.exit_actor()


def is_free(name: str) -> bool:
    try:
        zgen.get_actor(name)
    except ValueError:
        return True
    return False


def test_an_actor_is_found_by_its_name_in_the_driver_and_in_tasks() -> None:
    actor = Named.options(name="one").remote(4)
    found = zgen.get_actor("one")
    assert found == actor
    assert get([actor.add.remote(), found.add.remote()]) == [5, 6]

    @zgen.remote
    def elsewhere() -> int:
        return int(zgen.get(zgen.get_actor("one").add.remote()))

    assert get(elsewhere.remote()) == 7
    assert get(actor.names.remote()) == ("one", zgen.get_runtime_context().namespace)


def test_a_name_has_one_actor() -> None:
    actor = Named.options(name="taken").remote()
    with pytest.raises(ValueError, match="'taken' is taken") as caught:
        Named.options(name="taken").remote()
    assert isinstance(caught.value, ActorAlreadyExistsError)
    same = Named.options(name="taken", get_if_exists=True).remote(100)
    assert get(same.add.remote()) == 1
    assert same == actor


def test_an_unknown_name_is_a_value_error() -> None:
    for wrong in ("nobody", ""):
        with pytest.raises(ValueError, match=r"name"):
            zgen.get_actor(wrong)
    with pytest.raises(ValueError, match="needs a name"):
        Named.options(get_if_exists=True).remote()


def test_names_count_in_their_namespace_only() -> None:
    one = Named.options(name="same", namespace="a").remote(10)
    other = Named.options(name="same", namespace="b").remote(20)
    assert get(zgen.get_actor("same", namespace="a").add.remote()) == 11
    assert get(zgen.get_actor("same", "b").add.remote()) == 21
    assert is_free("same")
    assert one != other


@pytest.mark.parametrize("how", ["kill", "exit", "drop", "constructor"])
def test_a_name_is_free_when_its_actor_is_dead(how: str) -> None:
    actor = Named.options(name="again").remote()
    if how == "kill":
        zgen.kill(actor)
    elif how == "exit":
        with pytest.raises(ActorDiedError):
            get(actor.leave.remote())
    elif how == "constructor":
        del actor
        wait_until(lambda: is_free("again"), 10.0, "the name is free")

        @zgen.remote
        class Broken(RemoteClass):
            def __init__(self) -> None:
                raise ValueError("no")

            def work(self) -> None:
                return None

        actor = Broken.options(name="again").remote()
        with pytest.raises(ActorDiedError):
            get(actor.work.remote())
    else:
        del actor
    wait_until(lambda: is_free("again"), 10.0, "the name is free")
    assert get(Named.options(name="again").remote(7).add.remote()) == 8


def test_a_handle_that_was_found_does_not_keep_the_actor_alive() -> None:
    actor = Named.options(name="weak").remote()
    found, pid = zgen.get_actor("weak"), get(actor.pid.remote())
    del actor
    wait_until(lambda: not is_alive(pid), 10.0, "the actor ends")
    with pytest.raises(ActorDiedError):
        get(found.add.remote())


def test_a_handle_that_was_found_can_be_passed_on() -> None:
    actor = Named.options(name="passed").remote()

    @zgen.remote
    def use(handles: list[Any]) -> int:
        return int(zgen.get(handles[0].add.remote()))

    assert get(use.remote([zgen.get_actor("passed")])) == 1
    assert get(actor.add.remote()) == 2


def test_kill_by_a_handle_that_was_found_ends_the_actor() -> None:
    actor = Named.options(name="victim").remote()

    @zgen.remote
    def kill() -> None:
        zgen.kill(zgen.get_actor("victim"))

    assert get(actor.add.remote()) == 1
    get(kill.remote())

    def is_dead() -> bool:
        try:
            return not get(actor.add.remote())
        except ActorDiedError as error:
            return "killed" in str(error)

    wait_until(is_dead, 10.0, "the actor is dead")


def test_of_many_that_want_a_name_at_once_one_gets_it() -> None:
    @zgen.remote(num_cpus=0)
    def want(number: int) -> str:
        actor = Named.options(name="wanted", get_if_exists=True).remote(number)
        with contextlib.suppress(ActorDiedError):  # its creator may have ended meanwhile
            zgen.get(actor.add.remote())
        return str(actor._actor_id)

    keeper = Named.options(name="wanted").remote()
    assert set(get([want.remote(number) for number in range(8)])) == {keeper._actor_id}
    assert get(keeper.add.remote()) == 9


PROGRAM = """
    import sys
    import zgen

    @zgen.remote
    class Named:
        def where(self):
            return zgen.get_runtime_context().namespace

    with zgen.init(address=ADDRESS, namespace=NAMESPACE):
        try:
            actor = zgen.get_actor("shared")
        except ValueError:
            print("unknown")
        else:
            print(zgen.get(actor.add.remote()))
        print(zgen.get(Named.remote().where.remote()))
"""


def test_another_driver_finds_an_actor_in_its_namespace(runtime: Runtime, tmp_path: Path) -> None:
    actor = Named.options(name="shared", namespace="both").remote()
    for namespace, expected in (("both", "1\nboth\n"), ("other", "unknown\nother\n")):
        source = PROGRAM.replace("ADDRESS", repr(runtime.folder))
        done = scripts.run(tmp_path, source.replace("NAMESPACE", repr(namespace)))
        assert scripts.succeeded(done) == expected
    assert get(actor.add.remote()) == 2
