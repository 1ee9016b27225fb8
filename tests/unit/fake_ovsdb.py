"""An OVSDB server that says what a test wants: one switch with two ports, and an answer to every transaction."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Json = Any
BRIDGE, *PORTS = (f"00000000-0000-4000-8000-0000000000{n:02}" for n in range(3))
INTERFACES = [f"00000000-0000-4000-8000-0000000001{n:02}" for n in range(2)]
ROWS: Json = {
    "Bridge": {
        BRIDGE: {
            "name": "s1",
            "datapath_id": "0000000000000001",
            "datapath_type": "netdev",
            "ports": ["set", [["uuid", port] for port in PORTS]],
        }
    },
    "Port": {
        port: {"name": f"s1-eth{number}", "interfaces": ["uuid", interface], "qos": ["set", []]}
        for number, (port, interface) in enumerate(zip(PORTS, INTERFACES, strict=True), 1)
    },
    "Interface": {
        interface: {"name": f"s1-eth{number}", "type": "", "ofport": number}
        | {column: ["map", []] for column in ("bfd", "bfd_status", "external_ids")}
        for number, interface in enumerate(INTERFACES, 1)
    },
}


class FakeOvsdb:
    """`answer` makes the result of a transaction of its operations; None: there is none, ever."""

    def __init__(self, path: Path, rows: Json = ROWS) -> None:
        self.remote = f"unix:{path}"
        self.rows = rows
        self.answer: Callable[[list[Json]], Json | None] = lambda operations: [{} for _ in operations]
        self.transactions: list[list[Json]] = []
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Hang up on everybody."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        decoder, text = json.JSONDecoder(), ""
        with suppress(OSError):
            while data := connection.recv(1 << 16):
                text += data.decode()
                while text:
                    try:
                        message, end = decoder.raw_decode(text)
                    except ValueError:
                        break
                    text = text[end:]
                    self._hear(connection, message)

    def _hear(self, connection: socket.socket, message: Json) -> None:
        method, params = message.get("method"), message.get("params")
        result: Json = None
        error: Json = None
        if method == "echo":
            result = params
        elif method == "monitor":
            result = {
                table: {uuid: {"new": row} for uuid, row in listed.items()} for table, listed in self.rows.items()
            }
        elif method == "transact":
            self.transactions.append(params[1:])
            result = self.answer(params[1:])
            if result is None:
                return
        elif method is None:
            return
        else:
            error = "unknown method"
        reply = {"id": message["id"], "result": result, "error": error}
        connection.sendall(json.dumps(reply).encode())


@contextmanager
def fake_ovsdb(path: Path, rows: Json = ROWS) -> Iterator[FakeOvsdb]:
    """Such a server at this path."""
    server = FakeOvsdb(path, rows)
    try:
        yield server
    finally:
        server.close()
