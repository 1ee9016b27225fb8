"""The agent's word about itself on this machine: a socket in its state directory tells whoever may open it.

What connects is told the status as JSON and nothing is ever read from it: there is nothing to be said to an agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from vte_agent.keeping import CannotKeep

SOCKET = "status.sock"
_TIMEOUT_S = 5.0
_MOST_BYTES = 64 << 20


class NotRunning(Exception):
    """No agent answers for this state directory."""


@contextlib.asynccontextmanager
async def telling(directory: Path, status: Callable[[], str]) -> AsyncIterator[None]:
    """Tell the status while the body runs. Raises CannotKeep where the socket cannot be made."""
    path = directory / SOCKET

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(status().encode())
            await asyncio.wait_for(writer.drain(), _TIMEOUT_S)
        writer.close()

    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(tell, str(path), limit=1)
    except OSError as error:
        raise CannotKeep(
            f"no socket can be made at {path} ({error.strerror or error}); give another --state"
        ) from error
    finally:
        os.umask(before)
    try:
        async with server:
            yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def ask_status(directory: Path) -> str:
    """What the running agent says. Raises NotRunning."""
    path = directory / SOCKET
    said = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_TIMEOUT_S)
            link.connect(str(path))
            while (part := link.recv(1 << 16)) and len(said) < _MOST_BYTES:
                said += part
    except OSError as error:
        raise NotRunning(
            f"no agent answers at {path} ({error.strerror or error}); is it running, and with this --state?"
        ) from error
    return said.decode()
