"""Calling a controller past the overlay: what makes tunnels must not depend on them."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from vte_agent.marks import BYPASS


class BadAddress(OSError):
    """It is no address that could be called."""


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of HOST:PORT or [HOST]:PORT. Raises BadAddress."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise BadAddress(f"{address!r} is no HOST:PORT; have the controller's address put right")
    return host, int(port)


async def dial(address: str) -> socket.socket:
    """A connection to HOST:PORT whose packets no table of the agent routes. Raises OSError.

    All addresses of a name are tried, in the order of the resolver (RFC 6724).
    """
    host, port = split_address(address)
    loop = asyncio.get_running_loop()
    refused: OSError | None = None
    try:
        places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise BadAddress(f"{host!r} is no name of a host") from error
    for family, kind, protocol, _, place in places:
        link = socket.socket(family, kind, protocol)
        try:
            link.setblocking(False)
            with contextlib.suppress(PermissionError):
                # Whoever may not mark packets has made no tunnels either.
                link.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, BYPASS)
            await loop.sock_connect(link, place)
        except OSError as error:
            link.close()
            refused = error
        except BaseException:
            link.close()
            raise
        else:
            return link
    raise refused or OSError(f"{host} has no address")
