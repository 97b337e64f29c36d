"""The secret of a cluster: make it, keep it in a file of its own, read it, derive from it.

The file holds 64 hex digits and a newline, and belongs to one user alone. Whoever can read it is a
member of the cluster. Nothing here shows the secret: not a ``repr``, not a pickle, not an error.
"""

import os
import stat
from typing import Final, NoReturn

from zgen.exceptions import KeyFileError
from zgen.limits import KEY_BYTES

#: Names a key file where the command line names none.
KEY_VARIABLE: Final = "ZGEN_KEY"
_FILE_BYTES_MAX: Final = 4 * KEY_BYTES
_OTHERS: Final = 0o077


class ClusterKey:
    """The secret that every process of a cluster has."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Keep ``secret``, of ``KEY_BYTES``.

        Raises:
            ValueError: It has another length.
        """
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, got {len(secret)}")
        self._secret = secret

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "ClusterKey(...)"

    def __reduce__(self) -> NoReturn:
        """Stay in this process.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the key of a cluster does not leave its process")

    def derive(self, purpose: bytes) -> bytes:
        """Return 32 bytes for one purpose, named in 16 bytes at most, that tell nothing of it."""
        import hashlib  # slow, and of no use without a key

        return hashlib.blake2b(key=self._secret, person=purpose, digest_size=32).digest()

    def write(self, path: str) -> None:
        """Write it to a new file that only this user can read.

        Raises:
            KeyFileError: There is such a file already, or it cannot be made.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except FileExistsError:
            raise KeyFileError(path, "it exists already, and a key is never overwritten") from None
        except OSError as error:
            raise KeyFileError(path, str(error.strerror)) from None
        try:
            os.fchmod(file, 0o600)  # whatever the umask says
            os.write(file, self._secret.hex().encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)


def generate() -> ClusterKey:
    """Return a fresh key."""
    return ClusterKey(os.urandom(KEY_BYTES))


def load(path: str) -> ClusterKey:
    """Read a key file.

    Raises:
        KeyFileError: It cannot be read, others can read it too, or it holds no key.
    """
    try:
        # A pipe that nobody writes to must not be waited for.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise KeyFileError(path, str(error.strerror)) from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileError(path, "it is no file")
        if found.st_uid not in (os.geteuid(), 0):
            raise KeyFileError(path, f"it belongs to user {found.st_uid}, who knows it too")
        if found.st_mode & _OTHERS:
            mode = f"{stat.S_IMODE(found.st_mode):o}"
            raise KeyFileError(
                path, f"its mode is {mode}, so others may use it; `chmod 600` it, or make a new key"
            )
        text = os.read(file, _FILE_BYTES_MAX)
    finally:
        os.close(file)
    return _parsed(path, text)


def load_given(path: str | None) -> ClusterKey | None:
    """Read the key file that the command line names, or else ``ZGEN_KEY``; None if none does.

    Raises:
        KeyFileError: It cannot be used.
    """
    named = path or os.environ.get(KEY_VARIABLE) or None
    return None if named is None else load(named)


def _parsed(path: str, text: bytes) -> ClusterKey:
    digits = text.strip()
    try:
        secret = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise KeyFileError(path, "what it holds was not written by `zgen keygen`") from None
    if len(secret) != KEY_BYTES or len(digits) != 2 * KEY_BYTES:
        raise KeyFileError(path, f"it holds {len(secret)} bytes, and a key has {KEY_BYTES}")
    return ClusterKey(secret)
