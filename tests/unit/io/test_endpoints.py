"""Addresses that users write, what is bound and told, and which machine a process is on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zgen.exceptions import KeyFileError, NodeStartError, UnlockedError
from zgen.io import endpoints, exposure, keys
from zgen.io.endpoints import advertised, endpoint, facing, machine, parse_listen, parse_place
from zgen.wire.session import Address

PEER = bytes(16)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://127.0.0.1:80", "127.0.0.1", "80"),
        ("tcp://0.0.0.0:*", "0.0.0.0", "*"),
        ("tcp://*:0", "0.0.0.0", "*"),
        ("tcp://[::1]:65535", "::1", "65535"),
        ("tcp://localhost:1", "127.0.0.1", "1"),
    ],
)
def test_an_address_to_listen_at_is_a_number_and_a_port(text: str, host: str, port: str) -> None:
    found = parse_listen(text)
    assert found in ((host, port), ("::1", port) if "localhost" in text else (host, port))


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1:80", "tcp://", "tcp://:80", "tcp://a", "tcp://127.0.0.1:", "ipc:///tmp/x:1"]
    + [f"tcp://127.0.0.1:{port}" for port in ("65536", "-1", "x", "\u0661")]
    + ["tcp://127.0.0.1:80/path", "tcp://no.such.host.invalid:80"],
)
def test_what_is_no_address_to_listen_at_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the sentence names the text
        parse_listen(text)


def test_a_place_to_join_may_leave_out_the_transport() -> None:
    assert parse_place("node.example:6380") == parse_place("tcp://node.example:6380")
    assert parse_place("[::1]:1") == ("::1", 1)
    with pytest.raises(ValueError, match="no port"):
        parse_place("node.example:*")


def test_a_host_with_colons_stands_in_brackets() -> None:
    assert endpoint("::1", 7) == "tcp://[::1]:7"
    assert endpoint("127.0.0.1", "*") == "tcp://127.0.0.1:*"


def test_others_are_told_what_was_given_or_bound_or_what_faces_them() -> None:
    assert advertised("10.0.0.1", None) == "10.0.0.1"
    assert advertised("0.0.0.0", "name.example") == "name.example"
    assert advertised("0.0.0.0", None, "127.0.0.1") == "127.0.0.1"
    assert facing("127.0.0.9").startswith("127.")


def test_who_binds_everything_and_reaches_nobody_has_to_say_what_it_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(host: str) -> str:
        raise OSError(host)

    monkeypatch.setattr(endpoints, "facing", unreachable)
    with pytest.raises(NodeStartError, match="--advertise HOST"):
        advertised("0.0.0.0", None)


def test_a_machine_is_the_same_for_all_its_processes_unless_they_are_set_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(endpoints.MACHINE_VARIABLE, raising=False)
    here = machine()
    assert here == machine()
    monkeypatch.setenv(endpoints.MACHINE_VARIABLE, "another")
    assert machine() != here


@pytest.mark.parametrize("locked", [True, False])
def test_processes_of_a_node_learn_how_they_are_reached_from_its_folder(
    tmp_path: Path, locked: bool
) -> None:
    assert exposure.find(str(tmp_path)) is None
    key = keys.generate() if locked else None
    opened = exposure.exposure_of("tcp://127.0.0.1:4321", "name.example", key)
    exposure.publish(str(tmp_path), opened)
    found = exposure.find(str(tmp_path))
    assert found is not None
    assert (found.host, found.port) == ("127.0.0.1", "*"), "each has a port of its own"
    assert (found.advertise, found.machine) == ("name.example", machine())
    if key is None:
        assert found.key is None
    else:
        assert found.key is not None
        assert found.key.derive(b"x") == key.derive(b"x")
        assert os.stat(tmp_path / exposure.KEY_FILE).st_mode & 0o777 == 0o600
    address = found.told(Address(PEER, 1, "ipc://x"), 7)  # type: ignore[arg-type]  # bytes
    assert (address.endpoint, address.tcp) == ("ipc://x", "tcp://name.example:7")


def test_only_a_key_or_loopback_or_insistence_opens_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(keys.KEY_VARIABLE, raising=False)
    everywhere, path = "tcp://0.0.0.0:*", str(tmp_path / "key")
    with pytest.raises(UnlockedError, match=r"zgen keygen FILE"):
        exposure.check_opening(everywhere, None, None, insecure=False)
    assert exposure.check_opening(everywhere, None, None, insecure=True).key_file is None
    assert exposure.check_opening("tcp://127.0.0.1:*", None, None, insecure=False).listen
    with pytest.raises(KeyFileError):
        exposure.check_opening(everywhere, None, path, insecure=True)
    keys.generate().write(path)
    assert exposure.check_opening(everywhere, None, path, insecure=False).key_file == path
    monkeypatch.setenv(keys.KEY_VARIABLE, path)
    assert exposure.check_opening(everywhere, None, None, insecure=False).key_file == path
