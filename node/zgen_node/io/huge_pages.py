"""A file system in memory for slabs, made of huge pages, that no other process can see.

A fresh page of 4 KiB costs more to make than to fill; one of 2 MiB costs next to nothing. Memfds
get huge pages only where the machine's owner turned them on for all shared memory, a tmpfs where it
was mounted so. A child mounts one in a mount namespace of its own, and in a user namespace where
that needs one, hands over a descriptor of it, and ends: so there is no mount point, nothing that
others could look at, and nothing that is left when the last descriptor is closed.
"""

import ctypes
import os
import socket
from typing import Final, NoReturn

from zgen_node.io import linux

_CLONE_NEWNS: Final = 0x20000
_CLONE_NEWUSER: Final = 0x10000000
_MS_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
_MS_PRIVATE_REC: Final = 1 << 18 | 1 << 14
#: A file has huge pages where a map of it asks for them; the node bounds how much there is of them.
_OPTIONS: Final = b"huge=advise,size=0,nr_inodes=0,mode=0700"

_libc: Final = ctypes.CDLL(None, use_errno=True)


def make_folder() -> int | None:
    """Return a descriptor of an empty folder whose files have huge pages; None if none can be made.

    It forks: to be called while this process has one thread.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    with ours, theirs:
        try:
            child = os.fork()
        except OSError:
            return None
        if child == 0:
            _be_child(theirs, parent)
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(child, 0)
    if not descriptors:
        return None
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _be_child(theirs: socket.socket, parent: int) -> NoReturn:
    try:
        linux.die_with(parent)
        socket.send_fds(theirs, [b"."], [_mounted()])
    finally:  # who waits hears of it by the end of the connection
        os._exit(0)


def _mounted() -> int:
    """Mount it where only this process sees it; return its descriptor.

    Raises:
        OSError: The kernel or a sandbox forbids it, or has no huge pages.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _CLONE_NEWNS)
    except PermissionError:
        _call("unshare", _CLONE_NEWNS | _CLONE_NEWUSER)
        _write("setgroups", "deny")
        _write("uid_map", f"{user} {user} 1")
        _write("gid_map", f"{group} {group} 1")
    _call("mount", b"none", b"/", None, _MS_PRIVATE_REC, None)
    _call("mount", b"zgen", b"/proc", b"tmpfs", _MS_NOSUID_NODEV_NOEXEC, _OPTIONS)
    return os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
        file.write(text)


def _call(name: str, *arguments: bytes | int | None) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
