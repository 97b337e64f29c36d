"""What listens at a tcp address, by the first bytes that it says to anybody.

The greeting of this transport is not encrypted and names the mechanism, so a port that is shut, a
stranger's service and a key on one side only can be told apart without any key.
"""

import socket
from typing import Final

from zgen.exceptions import HandshakeError, WrongKeyError
from zgen.io.clock import now_ns
from zgen.io.endpoints import endpoint
from zgen.limits import SECOND

_GREETING_BYTES: Final = 64
_MECHANISM: Final = slice(12, 32)
#: Signature and version 3.0: enough for the other end to say its mechanism.
_BEGINNING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00"


def check_greeting(host: str, port: int, *, locked: bool, within_ns: int) -> None:
    """Return if a zgen process with a key, or one without, may listen there.

    Args:
        host: Host.
        port: Port.
        locked: Whether this process has a key.
        within_ns: How long it may take.

    Raises:
        WrongKeyError: Only one of the two ends has a key.
        HandshakeError: Nothing listens there, or something else.
    """
    where = endpoint(host, port)
    deadline_ns = now_ns() + within_ns
    said = b""
    try:
        with socket.create_connection((host, port), within_ns / SECOND) as line:
            line.sendall(_BEGINNING)
            while len(said) < _GREETING_BYTES and now_ns() < deadline_ns:
                line.settimeout(max(1, deadline_ns - now_ns()) / SECOND)
                more = line.recv(_GREETING_BYTES - len(said))
                if not more:
                    break
                said += more
    except TimeoutError:
        if not said:
            raise HandshakeError(where, f"no answer within {within_ns / SECOND:g} s") from None
    except OSError as error:
        if not said:
            raise HandshakeError(where, _words(error)) from None
    mechanism = said[_MECHANISM].rstrip(b"\0")
    if said[:1] != b"\xff" or mechanism not in (b"NULL", b"CURVE"):
        raise HandshakeError(where, "what listens there is not zgen")
    if locked and mechanism == b"NULL":
        raise WrongKeyError(where, "it has no key, and this process has one")
    if not locked and mechanism == b"CURVE":
        raise WrongKeyError(where, "it has a key, and this process has none; give it --key FILE")


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    return str(error.strerror or error)
