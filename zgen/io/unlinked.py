"""Files without a name, of which nothing is left when the process that holds them is killed."""

import errno
import os
from typing import Final

#: What file systems answer that cannot make a file without a name.
_UNABLE: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


def open_unlinked(folder: str) -> int:
    """Make a file in ``folder`` that has no name there, and return its descriptor.

    Raises:
        OSError: No file can be made there.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_EXCL
    try:
        return os.open(folder, flags | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
    path = os.path.join(folder, f"zgen-{os.urandom(8).hex()}")
    descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    os.unlink(path)
    return descriptor
