"""Addresses of nodes: what users write, what can be bound, what others are told, which machine."""

import os
import socket
from typing import Final

from zgen.exceptions import NodeStartError

#: Mixed into what tells machines apart; set by who wants several nodes of one machine to talk as if
#: they were on several.
MACHINE_VARIABLE: Final = "ZGEN_MACHINE"
_TCP: Final = "tcp://"
#: An address of nobody (RFC 5737): which interface would reach it is known without asking it.
_FAR_AWAY: Final = "192.0.2.1"
_PORT_MAX: Final = 65_535


def parse_listen(text: str) -> tuple[str, str]:
    """Return the numeric host and the port of ``tcp://HOST:PORT``; ``*`` for any free port.

    Raises:
        ValueError: It is something else, or the host has no address here.
    """
    host, port = _split(text)
    if port in ("0", "*"):
        return _numeric(host), "*"
    return _numeric(host), _checked_port(text, port)


def parse_place(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT`` or ``tcp://HOST:PORT``, where a node listens.

    Raises:
        ValueError: It is something else.
    """
    host, port = _split(text if text.startswith(_TCP) else _TCP + text)
    return host, int(_checked_port(text, port))


def endpoint(host: str, port: str | int) -> str:
    """Return ``host`` and ``port`` as ZeroMQ names them."""
    return f"{_TCP}[{host}]:{port}" if ":" in host else f"{_TCP}{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the numeric ``host``."""
    import ipaddress  # slow, and of no use to a node that is not opened

    return ipaddress.ip_address(host).is_loopback


def is_wildcard(host: str) -> bool:
    """Return whether the numeric ``host`` stands for every address of this machine."""
    import ipaddress  # as above

    return ipaddress.ip_address(host).is_unspecified


def facing(host: str) -> str:
    """Return the address of this machine by which it reaches ``host``.

    Raises:
        OSError: It does not reach it.
    """
    family, _, _, _, where = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(where)  # sends nothing
        found: str = probe.getsockname()[0]
        return found


def advertised(host: str, given: str | None, towards: str | None = None) -> str:
    """Return the host that others are told.

    Args:
        host: Numeric host that is bound.
        given: What the user wants it to be, or None.
        towards: A host that is to reach this one, if any is known.

    Raises:
        NodeStartError: Every address is bound and none is known that others could reach.
    """
    if given is not None:
        return given
    if not is_wildcard(host):
        return host
    try:
        return facing(towards or _FAR_AWAY)
    except OSError:
        raise NodeStartError(
            f"no address of this machine is known by which others reach {host}; name one with "
            "--advertise HOST"
        ) from None


def machine() -> bytes:
    """Return what tells apart processes that do not share sockets in the file system and loopback.

    Processes of one machine agree on it if they share a user, a network and the mounted file
    systems.
    """
    import hashlib  # as above

    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        facts = [file.read().strip()]
    spaces = [os.stat(f"/proc/self/ns/{name}") for name in ("net", "mnt")]
    facts.extend(f"{space.st_dev}:{space.st_ino}".encode() for space in spaces)
    facts.extend((str(os.getuid()).encode(), os.environ.get(MACHINE_VARIABLE, "").encode()))
    return hashlib.blake2b(b"\0".join(facts), digest_size=8).digest()


def _split(text: str) -> tuple[str, str]:
    host, _, port = text.removeprefix(_TCP).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not text.startswith(_TCP) or not host or not port or "/" in host:
        raise ValueError(f"expected tcp://HOST:PORT, got {text!r}")
    return ("0.0.0.0" if host == "*" else host), port


def _checked_port(text: str, port: str) -> str:
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX):
        raise ValueError(f"{port!r} in {text!r} is no port")
    return port


def _numeric(host: str) -> str:
    try:
        found: str = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]  # type: ignore[assignment]
    except OSError as error:
        raise ValueError(f"{host!r} has no address here: {error}") from None
    return found
