"""The prober's process as it is started and talked to; nobody waits for it for longer than is said."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import vte_agent

_TIMEVAL = struct.Struct("@ll")


class Child:
    """Started at once. within_s: how long it may take to read or to write a message that was begun."""

    def __init__(self, within_s: float) -> None:
        here, there = socket.socketpair()
        limit = _TIMEVAL.pack(int(within_s), round(within_s % 1 * 1e6))
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            here.setsockopt(socket.SOL_SOCKET, option, limit)
        environment = dict(os.environ)
        package = str(Path(vte_agent.__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
        words = [sys.executable, "-P", "-m", "vte_agent.probing.process", str(there.fileno())]
        self._connection = Connection(here.detach())
        with there:
            self._process = subprocess.Popen(words, pass_fds=[there.fileno()], env=environment)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, what: str, argument: object = None) -> None:
        """An order. Raises OSError where it has ended or does not read."""
        self._connection.send((what, argument))

    def receive(self, within_s: float | None) -> tuple[bool, Any]:
        """Whether it is an answer, and what was said; None: wait for ever. Raises EOFError, OSError."""
        if not self._connection.poll(within_s):
            raise TimeoutError("the prober's process does not answer")
        is_answer, said = self._connection.recv()
        return is_answer, said

    def kill(self) -> None:
        """Have it end; nothing happens where it has."""
        self._process.kill()

    def close(self, within_s: float) -> None:
        """End it and the connection. One that hangs in the kernel is left to it."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        self._connection.close()
