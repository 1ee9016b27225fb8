"""A helper process and the line it talks over: JSON lines both ways, with raw bytes behind them where wanted."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from typing import Any, Self


class WorkerFailed(RuntimeError):
    """A helper process ended or failed before its work was done."""


class Line:
    """One end of the line. A message is a JSON object; `blob` travels as bytes behind it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: dict[str, Any], blob: bytes = b"") -> None:
        """Send a message; raises OSError when the other end is gone."""
        self._socket.sendall(json.dumps({**message, "blob": len(blob)}).encode() + b"\n" + blob)

    def receive(self, timeout_s: float | None = None) -> tuple[dict[str, Any], bytes] | None:
        """Return the next message and its blob, None when none came in time; raises EOFError at the end."""
        give_up_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                message: dict[str, Any] = json.loads(self._buffer[:end])
                size = message.pop("blob")
                if len(self._buffer) > end + size:
                    blob = bytes(self._buffer[end + 1 : end + 1 + size])
                    del self._buffer[: end + 1 + size]
                    return message, blob
            wait_s = None if give_up_s is None else max(0.0, give_up_s - time.monotonic())
            if not select.select([self._socket], [], [], wait_s)[0]:
                return None
            chunk = self._socket.recv(1 << 20)
            if not chunk:
                raise EOFError
            self._buffer += chunk

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def line_to_parent() -> Line:
    """In a helper: the line to the process that started it (its standard input)."""
    return Line(socket.socket(fileno=os.dup(0)))


class Worker:
    """A helper process `python -m MODULE`; it ends when the line closes."""

    def __init__(self, module: str, message: dict[str, Any], blob: bytes = b"") -> None:
        """Start it and send it its work."""
        self._name = module.rpartition(".")[2]
        ours, theirs = socket.socketpair()
        self.line = Line(ours)
        with theirs:
            # A session of its own: Ctrl-C reaches the lab, which ends its helpers itself.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            self.tell(message, blob)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self, message: dict[str, Any], blob: bytes = b"") -> None:
        """Send a message; raises WorkerFailed."""
        try:
            self.line.send(message, blob)
        except OSError as error:
            raise WorkerFailed(f"the {self._name} process has ended; see its message above") from error

    def hear(self, timeout_s: float) -> tuple[dict[str, Any], bytes] | None:
        """Return its next message and blob, None when none came in time; raises WorkerFailed."""
        try:
            heard = self.line.receive(timeout_s)
        except (EOFError, OSError) as error:
            raise WorkerFailed(f"the {self._name} process has ended; see its message above") from error
        if heard is not None and "error" in heard[0]:
            raise WorkerFailed(f"the {self._name} process failed: {heard[0]['error']}")
        return heard

    def close(self) -> None:
        """End it and wait for it."""
        self.line.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
