"""The prober as the agent sees it: a process that probes all tunnels, and says what changed."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vte_agent.probing.child import Child
from vte_agent.probing.priority import run_ahead
from vte_agent.probing.session import Need
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth

_START_WITHIN_S, _ANSWER_WITHIN_S = 60.0, 5.0
"""A busy machine takes its time to start a process. Once it runs it runs ahead of all others."""

_BEGIN_AGAIN_S = 1.0

_GONE = object()
"""In place of an answer: there will be none."""

_log = logging.getLogger(__name__)

OnChange = Callable[[Mapping[str, TunnelHealth]], None]


class Prober:
    """Liveness, quality and MTU of all tunnels, both roles, in the network namespace that `start` is called in.

    `on_change` is called in a thread of the prober with the tunnels that became alive, dead, good or bad; it has
    to return at once. All else may be called from any thread, and raises ProbeFailed where the process does not
    answer. A process that dies or hangs is started again, with the tunnels it had; who asks meanwhile is told so
    at once, and goes on with what else there is to do.
    """

    def __init__(self, on_change: OnChange) -> None:
        self._on_change = on_change
        self._tunnels: dict[str, ProbedTunnel] = {}
        self._asking = threading.Lock()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ready = threading.Event()
        """The process has been told of all tunnels, and answers."""
        self._patience_s = _START_WITHIN_S
        self._stopping = threading.Event()
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)

    def start(self) -> None:
        """Begin; to be called once."""
        self._child = Child(_ANSWER_WITHIN_S)
        self._thread.start()

    def stop(self) -> None:
        """End the process; the other ends find the tunnels dead."""
        self._stopping.set()
        if self._child is None:
            return
        with self._asking:
            # From here on none follows it.
            child = self._child
            if self._ready.is_set():
                with contextlib.suppress(OSError):
                    child.send("stop")
                self._thread.join(_ANSWER_WITHIN_S)
            child.kill()
        self._thread.join()
        child.close(_ANSWER_WITHIN_S)

    @property
    def pid(self) -> int | None:
        """The number of the process; None before `start`."""
        return self._child.pid if self._child is not None else None

    def add(self, tunnel: ProbedTunnel) -> None:
        """Probe a tunnel from now on, in place of one of the same name. Raises ProbeFailed."""
        with self._turn():
            if problem := self._ask("add", tunnel):
                raise ProbeFailed(problem)
            self._tunnels[tunnel.name] = tunnel

    def remove(self, name: str) -> None:
        """Probe a tunnel no more; nothing happens where there is none of the name."""
        self._tunnels.pop(name, None)
        with self._turn():
            self._ask("remove", name)

    def need(self, needs: Mapping[str, Need]) -> None:
        """What tunnels are needed for from now on; those that are not named stay as they are."""
        with self._turn():
            self._ask("need", dict(needs))

    def search_mtu(self, most: Mapping[str, int]) -> None:
        """How long packets may be is to be found, up to these bytes, by tunnel; others stay as they are."""
        with self._turn():
            self._ask("search_mtu", dict(most))

    def health(self) -> Mapping[str, TunnelHealth]:
        """All tunnels as they are now, by name; one that could not be probed again has none."""
        with self._turn():
            found: Mapping[str, TunnelHealth] = self._ask("health")
            return found

    def take_worst_late_s(self) -> float:
        """How late the process's timer was at worst since last asked."""
        with self._turn():
            return float(self._ask("take_worst_late_s"))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """To ask: one at a time, and not while the process is started again."""
        if self._child is None:
            raise ProbeFailed("the prober does not run; start it first")
        self._ready.wait(self._patience_s)
        with self._asking:
            if not self._ready.is_set():
                raise ProbeFailed("the prober's process is being started again")
            yield

    def _ask(self, what: str, argument: object = None) -> Any:
        assert self._child is not None
        try:
            self._child.send(what, argument)
            said = self._answers.get(timeout=_ANSWER_WITHIN_S)
        except (OSError, queue.Empty) as error:
            # Its answer may still come: nobody asks it any more.
            self._ready.clear()
            self._child.kill()
            raise ProbeFailed("the prober's process does not answer; it is started again") from error
        if said is _GONE:
            raise ProbeFailed("the prober's process has ended; it is started again")
        return said

    def _run(self) -> None:
        """Hear the process, and begin again where it dies or hangs."""
        run_ahead()
        while (child := self._child) is not None:
            with contextlib.suppress(EOFError, OSError):
                child.receive(_START_WITHIN_S)
                self._prepare(child)
                self._hear(child)
            self._ready.clear()
            self._patience_s = 0.0
            self._answers.put(_GONE)
            child.kill()
            if self._stopping.wait(_BEGIN_AGAIN_S):
                return
            _log.error("prober=ended remedy='it is started again'")
            child.close(_ANSWER_WITHIN_S)
            with self._asking:
                if self._stopping.is_set():
                    return
                self._child = Child(_ANSWER_WITHIN_S)

    def _hear(self, child: Child) -> None:
        while True:
            is_answer, said = child.receive(None)
            if is_answer:
                self._answers.put(said)
            elif said:
                self._on_change(said)

    def _prepare(self, child: Child) -> None:
        """Tell it of all tunnels. Raises EOFError, OSError."""
        told = self._told(child, {})
        with self._asking:
            # Some may have been taken away meanwhile.
            self._told(child, told)
            self._answers = queue.SimpleQueue()
            self._patience_s = 0.0
            self._ready.set()

    def _told(self, child: Child, told: Mapping[str, ProbedTunnel]) -> dict[str, ProbedTunnel]:
        """By difference to what it was told; returns what it has been told then. The answers are read here."""
        tunnels = dict(self._tunnels)
        for name in told.keys() - tunnels.keys():
            self._tell(child, "remove", name)
        for name in tunnels.keys() - told.keys():
            if problem := self._tell(child, "add", tunnels[name]):
                _log.error("tunnel=%s probed=no why=%r", name, problem)
        return tunnels

    def _tell(self, child: Child, what: str, argument: object) -> Any:
        child.send(what, argument)
        while True:
            is_answer, said = child.receive(_ANSWER_WITHIN_S)
            if is_answer:
                return said
            self._on_change(said)
