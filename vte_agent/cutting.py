"""Cuts the tunnels to whom is no member any more, at once, whatever else the agent is busy with.

Their devices go down, in a thread that does nothing else: what makes and deletes tunnels may have to wait for a
process that does not answer. It deletes what was cut when it comes to it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping

from vte_agent.tunnels.contract import TunnelFailed

_AGAIN_S = 0.2

_log = logging.getLogger(__name__)


class Cutting:
    """`cut` takes a device down, where there is one; it is called in the thread of this. All else from any."""

    def __init__(self, cut: Callable[[str], object]) -> None:
        self._cut = cut
        self._lock = threading.Condition()
        self._peers: Mapping[str, int] = {}
        self._members: frozenset[int] | None = None
        self._down: set[str] = set()
        self._fresh: set[str] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="cutting", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._lock:
            self._stopping = True
            self._lock.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def watch(self, peers: Mapping[str, int]) -> None:
        """From now on there are these devices, or are about to be: each with the serial of who is behind it."""
        with self._lock:
            self._peers = dict(peers)
            self._down &= self._peers.keys()
            self._lock.notify()

    def judge(self, members: Collection[int]) -> None:
        """From now on these are members, and nobody else."""
        with self._lock:
            self._members = frozenset(members)
            self._down = {device for device in self._down if self._peers.get(device) not in self._members}
            self._lock.notify()

    def take(self) -> frozenset[str]:
        """The devices that have been cut since this was asked last."""
        with self._lock:
            fresh, self._fresh = frozenset(self._fresh), set()
        return fresh

    def _run(self) -> None:
        failed = False
        while True:
            with self._lock:
                if failed:
                    self._lock.wait(_AGAIN_S)
                while not self._stopping and not (due := self._due()):
                    self._lock.wait()
                if self._stopping:
                    return
            failed = len(due) > sum(self._take_down(device) for device in sorted(due))

    def _due(self) -> set[str]:
        if self._members is None:
            return set()
        return {one for one, serial in self._peers.items() if serial not in self._members} - self._down

    def _take_down(self, device: str) -> bool:
        try:
            self._cut(device)
        except (TunnelFailed, OSError) as error:
            # OSError: the kernel cannot even be asked, as too many files are open.
            _log.warning("device=%s is not cut: %s", device, error)
            return False
        _log.info("device=%s cut", device)
        with self._lock:
            self._down.add(device)
            self._fresh.add(device)
        return True
