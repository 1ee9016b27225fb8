"""Where the signer is, for those who talk to it: its directory, and the two sockets in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CONTROLLER_SOCKET = "controller.sock"
OPERATOR_SOCKET = "operator.sock"

_MOST_BYTES = 107
"""Of a socket's path: with the byte that ends it there is room for one more (unix(7))."""


@dataclass(frozen=True)
class Sockets:
    """The socket for the controller, and the one for the operator."""

    controller: Path
    operator: Path


def default_signer() -> Path:
    """Where the signer keeps its state unless told otherwise (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "lockstitch-signer"


class PathTooLong(ValueError):
    """No socket can be where one should; the message says what to do."""


def check_path(path: Path) -> Path:
    """The path of a socket, if one can be there. Raises PathTooLong."""
    if len(os.fsencode(path)) > _MOST_BYTES:
        raise PathTooLong(
            f"{path} is too long for a socket, which has {_MOST_BYTES} bytes: keep the signer's state elsewhere "
            "(--state), and the controller's socket (--controller-socket)"
        )
    return path


def in_state(directory: Path) -> Sockets:
    """Its sockets, where they were not put elsewhere."""
    return Sockets(directory / CONTROLLER_SOCKET, directory / OPERATOR_SOCKET)
