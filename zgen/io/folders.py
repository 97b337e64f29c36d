"""Session folders: where a node's sockets lie, whose they are, and sweeping those of the dead.

One folder a node, ``node-<8 hex>``, below a runtime folder of this user::

    lock            locked by the supervisor and its daemon for as long as either lives
    node.json       who the node is; written when it is ready
    node.log        what its processes say; not for a node in the foreground
    output.log      what its workers print and its daemon says; unless it has a folder for logs
    timeline-*      when its processes ran what, if they were asked to note that
    <8 hex>.sock    the inbox of a daemon, worker or driver, named after the process

A folder whose lock can be taken belongs to nobody. What its processes left running is known by a
mark in the environment that every descendant inherits. The runtime folder itself is locked while
folders are made or swept, so that a folder is never seen between its making and its locking.

Light on purpose: the supervisor imports it, and of this package only the clock beside it.
"""

import contextlib
import fcntl
import json
import os
import signal
import stat
from typing import Any, Final

from zgen.exceptions import NodeStartError
from zgen.io.clock import now_ns
from zgen.limits import KILL_NS_MAX, MS

#: In the environment of every process of a node: its session folder.
MARK: Final = "ZGEN_NODE_FOLDER"
#: In the environment of a node: where its log stays when it ends.
LOG_VARIABLE: Final = "ZGEN_LOG_FOLDER"
NODE_PREFIX: Final = "node-"
LOCK: Final = "lock"
NODE_FILE: Final = "node.json"
LOG_FILE: Final = "node.log"
OUTPUT_FILE: Final = "output.log"
#: How the files begin in which processes note what they run; see ``zgen.io.timeline``.
TIMELINE_PREFIX: Final = "timeline-"

#: What the kernel allows for the path of a socket.
SOCKET_PATH_BYTES_MAX: Final = 107
#: ``/node-12345678/12345678.sock``
_BELOW_ROOT_BYTES: Final = 28


def runtime_folder() -> str:
    """Return where the session folders of this user's nodes lie.

    Below ``XDG_RUNTIME_DIR`` if that is this user's, else a folder of this user in the folder for
    temporary files; in ``/tmp`` if the paths of sockets would get too long there.
    """
    own = f"zgen-{os.getuid()}"
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given) and _is_mine(given):
        wanted = os.path.join(given, "zgen")
    else:
        import tempfile  # slow, and mostly not needed

        wanted = os.path.join(tempfile.gettempdir(), own)
    fits = len(os.fsencode(f"ipc://{wanted}")) + _BELOW_ROOT_BYTES < SOCKET_PATH_BYTES_MAX
    return wanted if fits else f"/tmp/{own}"


def node_folder(root: str, peer: bytes) -> str:
    """Return the session folder of the node whose daemon is ``peer``."""
    return os.path.join(root, NODE_PREFIX + peer[:4].hex())


def socket_path(folder: str, peer: bytes) -> str:
    """Return the path of the inbox of ``peer``, a process of the node in ``folder``."""
    return os.path.join(folder, f"{peer[:4].hex()}.sock")


def endpoint_of(folder: str, peer: bytes) -> str:
    """Return the inbox of ``peer``, a process of the node in ``folder``, as ZeroMQ names it."""
    return f"ipc://{socket_path(folder, peer)}"


def make_node_folder(folder: str) -> int:
    """Make a session folder that nobody else may enter; return the descriptor that holds its lock.

    Raises:
        NodeStartError: Its parent is not a folder of this user alone, or it cannot be made.
    """
    root = os.path.dirname(folder)
    try:
        os.makedirs(os.path.dirname(root), exist_ok=True)
        try:
            os.mkdir(root, 0o700)
        except FileExistsError:
            _refuse_foreign(root)
        root_lock = _lock_root(root)
        try:
            os.mkdir(folder, 0o700)
            lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(root_lock)
    except OSError as error:
        raise NodeStartError(f"no session folder at {folder}: {error}") from error
    return lock


def remove_folder(folder: str) -> None:
    """Remove a folder with all that is in it, as far as that is possible."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name == LOCK)  # who looks sees it locked
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_folder(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(folder)
    except OSError:
        pass  # somebody else removes it too, or it is no longer ours


def unlink_quietly(path: str) -> None:
    """Unlink a file that may be gone already."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def write_node_file(folder: str, facts: dict[str, Any]) -> None:
    """Publish who the node in ``folder`` is; readers see all of it or nothing."""
    path = os.path.join(folder, NODE_FILE)
    fresh = f"{path}.new"
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(facts, file)
    os.replace(fresh, path)


def living_nodes() -> list[dict[str, Any]]:
    """Return what this user's ready nodes published about themselves, and their ``folder``."""
    found = map(node_in, _node_folders(runtime_folder()))
    return [facts for facts in found if facts is not None]


def node_in(folder: str) -> dict[str, Any] | None:
    """Return what the node in ``folder`` published, and the folder; None if it is not ready."""
    try:
        with open(os.path.join(folder, NODE_FILE), encoding="utf-8") as file:
            facts: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return None  # not ready yet, or on its way out
    return None if _is_abandoned(folder) else {**facts, "folder": folder}


def sweep() -> list[str]:
    """End what this user's dead nodes left running; remove their folders and return them."""
    root = runtime_folder()
    if not _is_mine(root):
        return []
    root_lock = _lock_root(root)
    try:
        dead = [folder for folder in _node_folders(root) if _is_abandoned(folder)]
        for folder in dead:
            end_marked(folder)
            remove_folder(folder)
    finally:
        os.close(root_lock)
    return dead


def abandoned() -> list[str]:
    """Return the folders of this user's dead nodes, which ``sweep`` would remove."""
    root = runtime_folder()
    return [folder for folder in _node_folders(root) if _is_mine(root) and _is_abandoned(folder)]


def strays() -> dict[int, str]:
    """Return the processes that nodes left running which are gone, and the folder of each."""
    found: dict[int, str] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue  # it ended, or is another user's
        marks = [word for word in words if word.startswith(f"{MARK}=".encode())]
        for mark in marks[:1]:
            folder = os.fsdecode(mark.partition(b"=")[2])
            if _is_abandoned(folder):
                found[int(name)] = folder
    return found


def end_marked(folder: str) -> None:
    """Kill every process that carries the mark of ``folder``, itself and its ancestors spared.

    What does not die, such as a process that waits for a disk, is left alone after a while.
    """
    spared = _ancestors()
    deadline_ns = now_ns() + KILL_NS_MAX
    while now_ns() < deadline_ns:
        left = [pid for pid in marked(folder) if pid not in spared]
        if not left:
            return
        for pid in left:
            _kill_marked(pid, folder)


def signal_marked(folder: str, number: int, spared: int = 0) -> None:
    """Send a signal to every process that carries the mark of ``folder``, those it starts too.

    Args:
        folder: Session folder of a node.
        number: The signal.
        spared: Process id of one that is left alone; 0 for none.
    """
    told: dict[int, None] = {spared: None}
    while fresh := [pid for pid in marked(folder) if pid not in told]:
        for pid in fresh:
            told[pid] = None
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def signal_one(folder: str, pid: int, number: int) -> bool:
    """Send a signal to ``pid`` if it is a process of ``folder``; return whether it was sent."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if _is_marked(pid, folder):  # the number may be a later process's by now
            signal.pidfd_send_signal(pidfd, number)
            return True
    except OSError:
        pass
    finally:
        os.close(pidfd)
    return False


def marked(folder: str) -> list[int]:
    """Return every process that carries the mark of ``folder``."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _is_marked(pid, folder)]


def _kill_marked(pid: int, folder: str) -> None:
    """Kill ``pid`` if it is still the marked process, and wait until it is dead."""
    import select

    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _is_marked(pid, folder):  # looked at again: the pidfd may name a later process
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(KILL_NS_MAX // MS)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def _is_marked(pid: int, folder: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARK}={folder}".encode() in file.read().split(b"\0")
    except OSError:
        return False  # it ended, or is another user's


def _ancestors() -> list[int]:
    spared: list[int] = []
    pid = os.getpid()
    while pid > 0:
        spared.append(pid)
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            break
    return spared


def _node_folders(root: str) -> list[str]:
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return []
    return [os.path.join(root, name) for name in names if name.startswith(NODE_PREFIX)]


def _is_abandoned(folder: str) -> bool:
    """Return whether nobody holds the lock of ``folder``."""
    try:
        lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        # Shared, so that two who look at once do not take each other for its owner.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _lock_root(root: str) -> int:
    """Lock a runtime folder; closing the returned descriptor unlocks it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _is_mine(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _refuse_foreign(root: str) -> None:
    found = os.lstat(root)
    if not stat.S_ISDIR(found.st_mode):
        raise NodeStartError(f"{root} is not a folder; remove it, or set XDG_RUNTIME_DIR")
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NodeStartError(
            f"{root} belongs to user {found.st_uid} and has mode {found.st_mode & 0o777:o}, "
            "so others may enter it; remove it, or set XDG_RUNTIME_DIR"
        )
