"""The prober's process: `python -m vte_agent.probing.process FD`, started by child.py and ended with the agent."""

from __future__ import annotations

import contextlib
import gc
import select
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from vte_agent.descriptors import take_descriptors
from vte_agent.probing.loop import ProbeLoop
from vte_agent.probing.priority import run_ahead
from vte_agent.probing.tunnel_probes import TunnelHealth


class _Served:
    """One loop, and the agent at the other end of the connection; one that does not listen holds up nothing."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._room = select.poll()
        self._room.register(connection, select.POLLOUT)
        self._untold: dict[str, TunnelHealth] = {}
        self._loop = ProbeLoop(self._changed, connection.fileno(), self._order)

    def run(self) -> None:
        # That it is there.
        self._say(is_answer=False, said={})
        self._loop.run()

    def _changed(self, healths: Mapping[str, TunnelHealth]) -> None:
        self._untold |= healths
        if self._untold and self._room.poll(0):
            self._say(is_answer=False, said=self._untold)
            self._untold = {}

    def _order(self) -> None:
        try:
            what, argument = self._connection.recv()
        except (EOFError, OSError):
            self._loop.stop()
            return
        order: Any = getattr(self._loop, what)
        said = order() if argument is None else order(argument)
        self._say(is_answer=True, said=said)

    def _say(self, *, is_answer: bool, said: Any) -> None:
        # Where the agent is gone the next order says so.
        with contextlib.suppress(OSError):
            self._connection.send((is_answer, said))


def main() -> None:
    """Probe until the agent is gone."""
    # Ctrl-C is for the agent, which then ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_descriptors()
    run_ahead()
    gc.collect()
    gc.freeze()
    with Connection(int(sys.argv[1])) as connection:
        _Served(connection).run()


if __name__ == "__main__":
    main()
