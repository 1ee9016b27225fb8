"""The prober as the agent sees it: a process that probes all tunnels, and says what changed."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import vte_agent
from vte_agent.probing.priority import run_ahead
from vte_agent.probing.session import Need
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth

CHANGED, _GONE = 0, -1
"""In place of the number of a question: what nobody has asked for, and that nobody answers any more."""

_START_WITHIN_S, _ANSWER_WITHIN_S = 60.0, 10.0
"""A busy machine takes its time to start a process. Once it runs it runs ahead of all others."""

_BEGIN_AGAIN_S = 1.0

_log = logging.getLogger(__name__)

OnChange = Callable[[Mapping[str, TunnelHealth]], None]


class Prober:
    """Liveness, quality and MTU of all tunnels, both roles, in the network namespace that `start` is called in.

    `on_change` is called in a thread of the prober with the tunnels that became alive, dead, good or bad; it has
    to return at once. All else may be called from any thread, and raises ProbeFailed where the process does not
    answer. A process that dies or hangs is started again, with the tunnels it had.
    """

    def __init__(self, on_change: OnChange) -> None:
        self._on_change = on_change
        self._tunnels: dict[str, ProbedTunnel] = {}
        self._asking = threading.Lock()
        self._asked = 0
        self._answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._listen, name="prober", daemon=True)

    def start(self) -> None:
        """Begin; to be called once."""
        self._begin()
        self._thread.start()

    def stop(self) -> None:
        """End the process; the other ends find the tunnels dead."""
        self._stopping.set()
        if self._connection is None or self._process is None:
            return
        with self._asking:
            self._send("stop", None)
        self._thread.join(_ANSWER_WITHIN_S)
        self._end()

    def add(self, tunnel: ProbedTunnel) -> None:
        """Probe a tunnel from now on, in place of one of the same name. Raises ProbeFailed."""
        if problem := self._ask("add", tunnel):
            raise ProbeFailed(problem)
        self._tunnels[tunnel.name] = tunnel

    def remove(self, name: str) -> None:
        """Probe a tunnel no more; nothing happens where there is none of the name."""
        self._tunnels.pop(name, None)
        self._ask("remove", name)

    def need(self, needs: Mapping[str, Need]) -> None:
        """What tunnels are needed for from now on; those that are not named stay as they are."""
        self._ask("need", dict(needs))

    def search_mtu(self, most: Mapping[str, int]) -> None:
        """How long packets may be is to be found, up to these bytes, by tunnel; others stay as they are."""
        self._ask("search_mtu", dict(most))

    def health(self) -> Mapping[str, TunnelHealth]:
        """All tunnels as they are now, by name."""
        found: Mapping[str, TunnelHealth] = self._ask("health")
        return found

    def take_worst_late_s(self) -> float:
        """How late the process's timer was at worst since last asked."""
        return float(self._ask("take_worst_late_s"))

    def _ask(self, what: str, argument: object = None) -> Any:
        with self._asking:
            if self._connection is None:
                raise ProbeFailed("the prober does not run; start it first")
            try:
                self._send(what, argument)
                return self._answer()
            except OSError as error:
                raise ProbeFailed("the prober's process has ended; it is started again") from error
            except queue.Empty as error:
                assert self._process is not None
                self._process.kill()
                raise ProbeFailed("the prober's process does not answer; it is started again") from error

    def _send(self, what: str, argument: object) -> None:
        assert self._connection is not None
        self._asked += 1
        self._connection.send((self._asked, what, argument))

    def _answer(self) -> Any:
        """The answer to what was asked last; one that comes too late is none to the question after it."""
        self._ready.wait(_START_WITHIN_S)
        give_up_s = time.monotonic() + _ANSWER_WITHIN_S
        while True:
            number, said = self._answers.get(timeout=max(0.0, give_up_s - time.monotonic()))
            if number == self._asked:
                return said
            if number == _GONE:
                raise ProbeFailed("the prober's process has ended; it is started again")

    def _begin(self) -> None:
        self._ready.clear()
        here, there = Pipe()
        environment = dict(os.environ)
        package = str(Path(vte_agent.__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
        words = [sys.executable, "-P", "-m", "vte_agent.probing.process", str(there.fileno())]
        with there:
            self._process = subprocess.Popen(words, pass_fds=[there.fileno()], env=environment)
        self._connection = here

    def _end(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(_ANSWER_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._connection is not None:
            self._connection.close()

    def _listen(self) -> None:
        """Hear the process; begin again where it dies."""
        run_ahead()
        while not self._stopping.is_set():
            assert self._connection is not None
            try:
                number, said = self._connection.recv()
                self._ready.set()
            except (EOFError, OSError):
                self._again()
                continue
            if number != CHANGED:
                self._answers.put((number, said))
            elif said:
                self._on_change(said)

    def _again(self) -> None:
        if self._stopping.wait(_BEGIN_AGAIN_S):
            return
        _log.error("prober=ended remedy='it is started again'")
        self._answers.put((_GONE, None))
        with self._asking:
            self._end()
            self._answers = queue.SimpleQueue()
            self._begin()
            assert self._connection is not None
            # One that dies while it is told so is begun again when it is heard next.
            with contextlib.suppress(EOFError, OSError):
                for tunnel in tuple(self._tunnels.values()):
                    # The answers are read here: nobody else hears the process now.
                    self._send("add", tunnel)
                    while self._connection.recv()[0] == CHANGED:
                        pass
