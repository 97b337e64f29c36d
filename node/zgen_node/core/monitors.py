"""Who wants to know of whose DOWN.

Rules of this file: pairs of processes, nothing of why one watches the other or of what is known
about a death. That a process is dead already is known to the caller, who tells a late watcher at
once.

Theory of operation. A watcher stands here once for each process it watches, however often it asked,
and leaves with the first DOWN: so each is told exactly once. A dead watcher is not told.
"""

from zgen.ids import PeerId


class Monitors:
    """Watchers by watched process, and the reverse."""

    def __init__(self) -> None:
        """Start with nobody watched."""
        #: Process -> who watches it. Added by ``add``; removed by ``down`` and ``forget_watcher``.
        self._watchers: dict[PeerId, dict[PeerId, None]] = {}
        #: Watcher -> whom it watches. Reverse of ``_watchers``.
        self._watched: dict[PeerId, dict[PeerId, None]] = {}

    def add(self, watcher: PeerId, process: PeerId) -> None:
        """Have ``watcher`` told of the DOWN of ``process``, which must be alive."""
        if watcher != process:
            self._watchers.setdefault(process, {})[watcher] = None
            self._watched.setdefault(watcher, {})[process] = None

    def down(self, process: PeerId) -> list[PeerId]:
        """Forget a dead process; return who is to be told, in the order in which they asked."""
        self.forget_watcher(process)
        told = list(self._watchers.pop(process, {}))
        for watcher in told:
            self._unwatch(watcher, process)
        return told

    def forget_watcher(self, watcher: PeerId) -> None:
        """Tell ``watcher`` of nothing any more."""
        for process in self._watched.pop(watcher, {}):
            watchers = self._watchers[process]
            del watchers[watcher]
            if not watchers:
                del self._watchers[process]

    def watchers_of(self, process: PeerId) -> list[PeerId]:
        """Return who would be told of the DOWN of ``process``."""
        return list(self._watchers.get(process, {}))

    def check(self) -> None:
        """Assert that both directions say the same."""
        for process, watchers in self._watchers.items():
            assert watchers, "a watched process without watchers"
            for watcher in watchers:
                assert process in self._watched[watcher], "watcher without its reverse"
        for watcher, watched in self._watched.items():
            assert watched, "a watcher of nobody"
            for process in watched:
                assert watcher in self._watchers[process], "watched without its reverse"

    def _unwatch(self, watcher: PeerId, process: PeerId) -> None:
        watched = self._watched[watcher]
        del watched[process]
        if not watched:
            del self._watched[watcher]
