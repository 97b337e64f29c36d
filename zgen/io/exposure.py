"""How the processes of one node are reached from other machines, and how they learn of it.

The daemon puts it into its session folder before it starts a worker; workers and drivers read it
there. The key lies beside it in a file of its own, since a command line and an environment can be
read by others.
"""

import json
import os
from dataclasses import replace
from typing import Any, Final

from zgen.exceptions import UnlockedError
from zgen.ids import PeerId
from zgen.io import keys
from zgen.io.endpoints import advertised, endpoint, is_loopback, machine, parse_listen
from zgen.io.keys import ClusterKey
from zgen.slotted import slotted
from zgen.wire.session import Address

_FACTS_FILE: Final = "exposure.json"
#: Name of the key in a session folder.
KEY_FILE: Final = "key"


@slotted
class Exposure:
    """How one process is reached from other machines.

    Attributes:
        host: Numeric host that it binds.
        port: Port that it binds; ``*`` for any.
        advertise: Host that others are told.
        machine: Which machine it is on.
        key: The key of the cluster; None if it has none.
    """

    host: str
    port: str
    advertise: str
    machine: bytes
    key: ClusterKey | None

    def told(self, address: Address, port: int) -> Address:
        """Return ``address`` with its inbox at ``port`` beside the one that it has."""
        return replace(address, tcp=endpoint(self.advertise, port), machine=self.machine)


def exposure_of(listen: str, advertise: str | None, key: ClusterKey | None) -> Exposure:
    """Return how a daemon is reached that listens at ``tcp://HOST:PORT``.

    Raises:
        ValueError: It cannot listen there.
        NodeStartError: No address is known that others could be told.
    """
    host, port = parse_listen(listen)
    return Exposure(host, port, advertised(host, advertise), machine(), key)


def publish(folder: str, exposure: Exposure) -> None:
    """Let the processes of the node in ``folder`` know; they bind ports of their own.

    Raises:
        KeyFileError: The key cannot be written.
    """
    if exposure.key is not None:
        exposure.key.write(os.path.join(folder, KEY_FILE))
    facts = {
        "host": exposure.host,
        "advertise": exposure.advertise,
        "machine": exposure.machine.hex(),
        "locked": exposure.key is not None,
    }
    with open(os.path.join(folder, _FACTS_FILE), "w", encoding="utf-8") as file:
        json.dump(facts, file)


def rekey(folder: str, key: ClusterKey) -> None:
    """Put another key where the processes of the node in ``folder`` find it.

    Raises:
        KeyFileError: It cannot be written.
    """
    key.replace(os.path.join(folder, KEY_FILE))


def key_in(folder: str) -> ClusterKey:
    """Return the key of the node in ``folder``, which has one.

    Raises:
        KeyFileError: It cannot be read.
    """
    return keys.load(os.path.join(folder, KEY_FILE))


def find(folder: str) -> Exposure | None:
    """Return how a process of the node in ``folder`` is reached; None if only from here.

    Raises:
        KeyFileError: Its key cannot be read.
    """
    try:
        with open(os.path.join(folder, _FACTS_FILE), encoding="utf-8") as file:
            facts = json.load(file)
    except FileNotFoundError:
        return None
    key = key_in(folder) if facts["locked"] else None
    return Exposure(facts["host"], "*", facts["advertise"], bytes.fromhex(facts["machine"]), key)


@slotted
class Opening:
    """How other machines reach a node and what it is to them, as its user wants it.

    Attributes:
        listen: ``tcp://HOST:PORT``; None if they do not.
        advertise: Host that others are told; None for the one that it listens at.
        key_file: Absolute path of the file with the cluster's key; None for none.
        join: Endpoints of members of the cluster to join; none for a new one.
        profile: How fast membership is: ``lan`` or ``fast``.
        comes_back: Whether another node takes its place if its cluster declares it dead.
        labels: What work may ask of the node by name and value; (name, value).
    """

    listen: str | None
    advertise: str | None
    key_file: str | None
    join: tuple[str, ...] = ()
    profile: str = "lan"
    comes_back: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return it as a part of what a daemon is started with."""
        return {
            "listen": self.listen,
            "advertise": self.advertise,
            "key_file": self.key_file,
            "join": self.join,
            "profile": self.profile,
            "comes_back": self.comes_back,
            "labels": dict(self.labels),
        }


#: Other machines do not reach it.
CLOSED: Final = Opening(None, None, None)


def check_opening(
    listen: str, advertise: str | None, key_file: str | None, insecure: bool
) -> Opening:
    """Return what a user wants, if it makes sense and is not open to everybody.

    Args:
        listen: ``tcp://HOST:PORT``.
        advertise: Host that others are told, or None.
        key_file: File with the cluster's key, or None for the one that ``ZGEN_KEY`` names, if any.
        insecure: Whether it may be open to other machines without a key.

    Raises:
        ValueError: It cannot be bound.
        KeyFileError: The key cannot be used.
        UnlockedError: Whoever reaches this machine could run code on it.
    """
    host, _ = parse_listen(listen)
    key_path = key_file or os.environ.get(keys.KEY_VARIABLE) or None
    if key_path is not None:
        keys.load(key_path)
        key_path = os.path.abspath(key_path)
    elif not (insecure or is_loopback(host)):
        raise UnlockedError(listen)
    return Opening(listen, advertise, key_path)


def address_in(facts: dict[str, Any]) -> Address:
    """Return the address of a daemon in what it published about itself."""
    peer = PeerId(bytes.fromhex(facts["peer"]))
    return Address(
        peer,
        facts["incarnation"],
        facts["endpoint"],
        peer,
        tcp=facts.get("tcp", ""),
        machine=bytes.fromhex(facts.get("machine", "")),
    )
