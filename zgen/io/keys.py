"""The secret of a cluster: make it, keep it in a file of its own, replace it, derive from it.

The file holds 64 hex digits and a newline, and belongs to one user alone. Whoever can read it is a
member of the cluster. Nothing here shows the secret: not a ``repr``, not a pickle, not an error.

While the secret is replaced the file has two lines. The first is the key that is shown; behind the
other one stands ``next`` before it has been the first, and ``last`` after that, so that no step of
the three is done twice or left out.
"""

import os
import stat
from collections.abc import Callable
from typing import Final, NoReturn

from zgen.exceptions import KeyFileError
from zgen.limits import KEY_BYTES

#: Names a key file where the command line names none.
KEY_VARIABLE: Final = "ZGEN_KEY"
_FILE_BYTES_MAX: Final = 8 * KEY_BYTES
_OTHERS: Final = 0o077
_PRINT: Final = b"zgen key print"
_PRINT_BYTES: Final = 4
#: What the second key of a file is: not shown yet, or not shown any more.
NEXT: Final = "next"
LAST: Final = "last"


class ClusterKey:
    """The secret that every process of a cluster has, and a second one while it is replaced.

    Attributes:
        stage: What the second one is, ``NEXT`` or ``LAST``; empty if there is none.
    """

    __slots__ = ("_other", "_secret", "stage")

    def __init__(self, secret: bytes, other: bytes | None = None, stage: str = "") -> None:
        """Keep ``secret``, of ``KEY_BYTES``, and perhaps an ``other`` one.

        Raises:
            ValueError: One has another length, or nothing says what the other one is.
        """
        for each in (secret, secret if other is None else other):
            if len(each) != KEY_BYTES:
                raise ValueError(f"a key has {KEY_BYTES} bytes, got {len(each)}")
        if stage not in (("",) if other is None else (NEXT, LAST)):
            raise ValueError(f"no such stage of a second key: {stage!r}")
        self._secret = secret
        self._other = other
        self.stage = stage

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

    def each(self) -> tuple["ClusterKey", ...]:
        """Return the one that is shown, then the other one if there is one, each alone."""
        if self._other is None:
            return (self,)
        return ClusterKey(self._secret), ClusterKey(self._other)

    def prints(self) -> tuple[str, ...]:
        """Return eight digits for each, by which people tell keys apart, and learn nothing."""
        return tuple(one.derive(_PRINT)[:_PRINT_BYTES].hex() for one in self.each())

    def with_next(self) -> "ClusterKey":
        """Return this one, with a fresh one that will take its place.

        Raises:
            ValueError: It is being replaced already.
        """
        if self._other is not None:
            raise ValueError("it holds two keys already: end that change first")
        return ClusterKey(self._secret, os.urandom(KEY_BYTES), NEXT)

    def promoted(self) -> "ClusterKey":
        """Return the next one as the one that is shown, with this one as the last.

        Raises:
            ValueError: There is no next one.
        """
        if self._other is None or self.stage != NEXT:
            raise ValueError("it holds no next key: `zgen key add` makes one")
        return ClusterKey(self._other, self._secret, LAST)

    def retired(self) -> "ClusterKey":
        """Return it without the last one.

        Raises:
            ValueError: There is no last one.
        """
        if self.stage != LAST:
            raise ValueError("it holds no last key: `zgen key promote` makes one of what is shown")
        return ClusterKey(self._secret)

    def replace(self, path: str) -> None:
        """Write it to a file that is there, in one stroke: who reads finds the old or the new.

        Raises:
            KeyFileError: It cannot be written.
        """
        fresh = f"{path}.{os.getpid()}.new"
        self.write(fresh)
        try:
            os.replace(fresh, path)
        except OSError as error:
            os.unlink(fresh)
            raise KeyFileError(path, str(error.strerror)) from None

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
            other = "" if self._other is None else f"{self._other.hex()} {self.stage}\n"
            os.write(file, f"{self._secret.hex()}\n{other}".encode())
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


def change(path: str, how: Callable[[ClusterKey], ClusterKey]) -> ClusterKey:
    """Replace the key in a file by what ``how`` makes of it; return that.

    Raises:
        KeyFileError: The file cannot be used or written, or this is not the next step.
    """
    try:
        changed = how(load(path))
    except ValueError as error:
        raise KeyFileError(path, str(error)) from None
    changed.replace(os.path.realpath(path))
    return changed


def _parsed(path: str, text: bytes) -> ClusterKey:
    try:
        first, *others = text.decode("ascii").strip().split("\n")
        other, stage = None, ""
        if others:
            (second,) = others
            digits, stage = second.split(" ")
            other = _secret_in(digits)
        found = _secret_in(first), other, stage
    except ValueError:
        raise KeyFileError(path, "what it holds was not written by `zgen keygen`") from None
    for secret in found[:2]:
        if secret is not None and len(secret) != KEY_BYTES:
            raise KeyFileError(path, f"it holds {len(secret)} bytes, and a key has {KEY_BYTES}")
    try:
        return ClusterKey(*found)
    except ValueError:
        raise KeyFileError(path, "it does not say what its second key is") from None


def _secret_in(line: str) -> bytes:
    """Return what the digits of a line stand for.

    Raises:
        ValueError: They are none.
    """
    if line != "".join(line.split()):
        raise ValueError
    return bytes.fromhex(line)
