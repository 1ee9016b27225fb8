"""Serves the API over HTTP from a thread of its own."""

from __future__ import annotations

import socket
import threading

import uvicorn
from starlette.types import ASGIApp

from ryu_apps.rest.tls import TlsFiles

_START_S = 10.0
_STOP_S = 5.0
_STALLED_MS = 60_000


class ServerError(Exception):
    """The API cannot be served; the message says what to do."""


class _Server(uvicorn.Server):
    """A uvicorn server that says when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        self.ready.set()


class RestServer:
    """The API at http://host:port, or https where there are TLS files.

    With port 0 the system chooses one; `port` says which after start().
    """

    def __init__(self, api: ASGIApp, host: str, port: int, tls: TlsFiles | None = None) -> None:
        self.host = host
        self.port = port
        self._scheme = "http" if tls is None else "https"
        # Timeouts: an idle connection is closed after 30 s, and a stop does not wait long for slow answers.
        self._server = _Server(
            uvicorn.Config(
                api,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=2,
                ssl_certfile=tls.certificate if tls is not None else None,
                ssl_keyfile=tls.key if tls is not None else None,
            )
        )
        # Off the main thread uvicorn installs no signal handlers: they stay with the controller.
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}"

    def start(self) -> None:
        """Serve; returns once it listens. Raises ServerError where the address cannot be had."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            self._socket = socket.create_server((self.host, self.port), family=family, backlog=128)
            # asyncio turns Nagle's algorithm off only for sockets made with IPPROTO_TCP; with it on, every answer
            # waits 40 ms for the client's delayed acknowledgement. Accepted sockets inherit this.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A reader that takes nothing of what is left for it is let go of in the end; inherited too.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
        except OSError as error:
            raise ServerError(
                f"cannot serve REST on {self.host} port {self.port}: {_reason(error)}; "
                "stop what listens there, or choose another with --rest-port and --rest-host"
            ) from error
        self.port = self._socket.getsockname()[1]
        self._thread.start()
        if not self._server.ready.wait(_START_S):
            raise ServerError(f"the REST server did not start within {_START_S:g} s; the log says why")

    def stop(self) -> None:
        """End the answers under way, close the port and end the thread. May be called before start()."""
        if not self._thread.is_alive():
            return
        self._server.should_exit = True
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        assert self._socket is not None  # start() made it
        with self._socket:
            self._server.run(sockets=[self._socket])


def _reason(error: OSError) -> str:
    # create_server adds the address to the message, which says it already.
    return (error.strerror or str(error)).split(" (while")[0].lower()
