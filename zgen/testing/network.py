"""Networks of network namespaces: machines that share a link, and links that can be cut.

A namespace has no name: it lives as long as a descriptor of this process or a process inside it,
so that nothing is left of it when this process is killed. A cut is a neighbour entry that leads to
an Ethernet address of nobody: packets leave and never arrive, as on a dead link, one way or both.
It takes root and the command ``ip`` of iproute2, and no firewall.
"""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from zgen.exceptions import NamespaceError

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000
#: Networks for measurements (RFC 2544): 198.18.0.0 to 198.19.255.0, 256 addresses each.
_NETS_COUNT: Final = 512
_MACHINES_MAX: Final = 250
#: The Ethernet address that packets to machines out of reach are sent to.
_NOBODY: Final = "02:00:5e:00:53:00"


class Machine:
    """A network namespace with one interface.

    Attributes:
        host: Its address.
        namespace_fd: The namespace.
        interface: Name of its interface.
    """

    def __init__(self, namespace_fd: int, host: str, interface: str) -> None:
        """Made by ``Network``, which owns the descriptor."""
        self.host: Final = host
        self.namespace_fd: Final = namespace_fd
        self.interface: Final = interface

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` in a thread inside this namespace, in which what it starts stays."""
        return _in_thread(lambda: _entered(self.namespace_fd, function))

    def ip(self, *commands: str) -> None:
        """Run commands of ``ip`` inside.

        Raises:
            NamespaceError: One of them failed.
        """
        self.call(lambda: _ip(*commands))

    def lose(self, other: "Machine") -> None:
        """Let what this machine sends to ``other`` vanish from now on."""
        self.ip(
            f"neigh replace {other.host} lladdr {_NOBODY} dev {self.interface} nud permanent",
        )

    def find(self, other: "Machine") -> None:
        """Let what this machine sends to ``other`` arrive again."""
        self.ip(f"neigh del {other.host} dev {self.interface}")


class Network:
    """Machines on one bridge; this process's own network is one of them.

    Attributes:
        here: The machine of this process.
        machines: The others.
    """

    def __init__(self) -> None:
        """Make the bridge and connect this process's network to it.

        Raises:
            NamespaceError: This system, or this user, cannot.
        """
        _command()
        self._fds: list[int] = []
        self._cuts: dict[tuple[Machine, Machine], None] = {}
        self.machines: list[Machine] = []
        try:
            home = self._opened("/proc/thread-self/ns/net")
            self._hub: Final = Machine(self._made(), "", "bridge")
            self._hub.ip("link add bridge type bridge", "link set bridge up")
            self._net, name = _free_net()
            self.here: Final = Machine(home, f"{self._net}.254", name)
            self._connect(self.here, "here")
        except OSError as error:
            self._close_fds()
            raise NamespaceError(str(error)) from error
        except BaseException:
            self._close_fds()
            raise

    def add(self) -> Machine:
        """Make one more machine.

        Raises:
            NamespaceError: It cannot be made, or there are too many.
        """
        number = len(self.machines) + 1
        if number > _MACHINES_MAX:
            raise NamespaceError(f"a network has at most {_MACHINES_MAX} machines")
        machine = Machine(self._made(), f"{self._net}.{number}", "eth0")
        self._connect(machine, f"port{number}")
        machine.ip("link set lo up")
        self.machines.append(machine)
        return machine

    def cut(self, source: Machine, target: Machine) -> None:
        """Let what ``source`` sends to ``target`` vanish; harmless twice."""
        source.lose(target)
        self._cuts[source, target] = None

    def heal(self) -> None:
        """Undo all cuts."""
        for source, target in list(self._cuts):
            source.find(target)
            del self._cuts[source, target]

    def close(self) -> None:
        """Take this process's network off the bridge and let go of the namespaces."""
        if self._fds:
            self._hub.ip("link del here")  # with its other end
            self._close_fds()

    def _connect(self, machine: Machine, port: str) -> None:
        """Lay a cable from a port of the bridge to a machine."""
        namespace = f"/proc/{os.getpid()}/fd/{machine.namespace_fd}"
        name = machine.interface
        self._hub.ip(
            f"link add {port} type veth peer name {name} netns {namespace}",
            f"link set {port} master bridge up",
        )
        machine.ip(f"addr add {machine.host}/24 dev {name}", f"link set {name} up")

    def _made(self) -> int:
        def unshare() -> int:
            if _libc().unshare(_CLONE_NEWNET) != 0:
                raise NamespaceError(f"unshare: {os.strerror(ctypes.get_errno())}; it takes root")
            return self._opened("/proc/thread-self/ns/net")

        return _in_thread(unshare)

    def _opened(self, path: str) -> int:
        self._fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        return self._fds[-1]

    def _close_fds(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _entered(namespace_fd: int, function: Callable[[], T]) -> T:
    if _libc().setns(namespace_fd, _CLONE_NEWNET) != 0:
        raise NamespaceError(f"setns: {os.strerror(ctypes.get_errno())}; it takes root")
    return function()


def _in_thread(function: Callable[[], T]) -> T:
    """Call ``function`` in a thread of its own, as a thread keeps the namespace that it entered."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="zgen-namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _command() -> str:
    """Return the path of ``ip``, which lies where not everybody's shell looks."""
    found = shutil.which("ip", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise NamespaceError("the command `ip` is missing; install iproute2")
    return found


def _ip(*commands: str) -> None:
    """Run commands of ``ip`` in the namespace of this thread."""
    done = subprocess.run(
        [_command(), "-batch", "-"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NamespaceError(f"ip: {done.stderr.strip()} ({'; '.join(commands)})")


def _free_net() -> tuple[str, str]:
    """Return the first three numbers of a network that nobody uses here, and an interface's name.

    The interface is named after the network, so that of two who choose the same one fails.
    """
    taken = os.listdir("/sys/class/net")
    first = int.from_bytes(os.urandom(2))
    for number in range(first, first + _NETS_COUNT):
        high, low = divmod(number % _NETS_COUNT, 256)
        name = f"zgen{high}-{low}"
        if name not in taken:
            return f"198.{18 + high}.{low}", name
    raise NamespaceError("all networks from 198.18.0.0 to 198.19.255.0 are in use here")
