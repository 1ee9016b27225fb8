"""Stands between one switch and the controller, to break the connection at a moment of the test's choosing."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Self

_CHUNK = 65536


class StallingProxy:
    """Passes bytes on between a switch and the controller while its `with` block runs.

    It can hold back what goes to the switch or what comes from it, and hang up on both; while `refusing` it
    takes no new connection.
    """

    def __init__(self, of_port: int) -> None:
        self._target = ("127.0.0.1", of_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.refusing = False
        self.hold_to_switch = False
        self.hold_from_switch = False
        self.held_bytes = 0
        self._ending = False
        self._hang_up = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join()
        self._listener.close()

    def hang_up(self) -> None:
        """Close the connection at both ends, throw away what is held back, and refuse the next ones."""
        self.refusing = self._hang_up = True

    def connect(self) -> None:
        """Take connections again and hold nothing back."""
        self.hold_to_switch = self.hold_from_switch = False
        self.refusing = False

    def _run(self) -> None:
        while not self._ending:
            if not select.select([self._listener], [], [], 0.02)[0]:
                continue
            switch, _ = self._listener.accept()
            with switch:
                if not self.refusing:
                    self._serve(switch)

    def _serve(self, switch: socket.socket) -> None:
        self._hang_up, self.held_bytes = False, 0
        with socket.create_connection(self._target) as controller, contextlib.suppress(OSError):
            for end in (switch, controller):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not (self._ending or self._hang_up):
                for source in select.select([switch, controller], [], [], 0.02)[0]:
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    if self.hold_to_switch if source is controller else self.hold_from_switch:
                        self.held_bytes += len(data)
                    else:
                        (switch if source is controller else controller).sendall(data)
