"""`python -m ryu_apps.overlay.signing`: the signer's process, or one answer of it, without a network."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

from ryu_apps.overlay.signing.home import SignerError, opened
from ryu_apps.overlay.signing.places import CONTROLLER_SOCKET, OPERATOR_SOCKET, PathTooLong, check_path
from ryu_apps.overlay.signing.requests import CONTROLLER, OPERATOR, BadRequest
from ryu_apps.overlay.signing.server import Door, SignerServer
from vte_agent.private_files import write_file

DOORS = {"controller": CONTROLLER, "operator": OPERATOR}


def main() -> int:
    """Serve until SIGINT or SIGTERM, or answer one file; returns the exit code."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s")
    try:
        # Before a key is made where nobody could ask for it.
        doors = _doors(arguments) if arguments.answer is None else ()
        with opened(arguments.state, time.time) as signer:
            server = SignerServer(signer)
            if arguments.answer is not None:
                request, answer = arguments.answer
                asyncio.run(_answer(server, request, answer, arguments.of))
            else:
                asyncio.run(_serve(server, doors))
    except (SignerError, BadRequest, PathTooLong, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ryu_apps.overlay.signing", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="its own directory (0700): key and ledger")
    parser.add_argument("--controller-socket", type=Path, help="default: controller.sock in the state directory")
    parser.add_argument("--controller-uid", type=int, help="the user that the controller runs as, if another")
    parser.add_argument(
        "--answer", type=Path, nargs=2, metavar=("REQUEST", "ANSWER"), help="answer one file, and end"
    )
    parser.add_argument("--of", choices=tuple(DOORS), default="controller", help="who asks in that file")
    return parser.parse_args()


def _doors(arguments: argparse.Namespace) -> tuple[Door, ...]:
    own = os.geteuid()
    state: Path = arguments.state
    at: Path = arguments.controller_socket or state / CONTROLLER_SOCKET
    controller = own if arguments.controller_uid is None else arguments.controller_uid
    return (
        Door(check_path(at), frozenset({controller}), CONTROLLER, "controller"),
        Door(check_path(state / OPERATOR_SOCKET), frozenset({own}), OPERATOR, "operator"),
    )


async def _serve(server: SignerServer, doors: tuple[Door, ...]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server.serving(doors):
        await stop.wait()


async def _answer(server: SignerServer, request: Path, answer: Path, of: str) -> None:
    said = await server.answer(request.read_bytes(), DOORS[of])
    # An answer may be a token.
    write_file(answer, said.model_dump_json().encode() + b"\n", 0o600)


if __name__ == "__main__":
    sys.exit(main())
