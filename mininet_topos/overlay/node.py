"""A node without a controller: all of an agent but its channel, told what is wanted by lines of JSON.

Each line is [command, argument]; each is answered by a line. It takes all of its own away when its input ends.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from vte_agent.believing import Believed, Standing
from vte_agent.bridging.keeper import Bridging
from vte_agent.failover import Move
from vte_agent.hands import Hands
from vte_agent.identity import Identity
from vte_agent.probing.prober import Prober
from vte_agent.protocol.filters import Filters
from vte_agent.protocol.members import Member, Role, Roll
from vte_agent.protocol.signed import Signed
from vte_agent.protocol.wanted import Wanted, WantedRoute, WantedTunnel
from vte_agent.reporting import Reporter
from vte_agent.steering import Steering
from vte_agent.tunnels.devices import Devices
from vte_agent.tunnels.transports import transports
from vte_agent.uplinks import Uplinks

SIGNER = Ed25519PrivateKey.generate()
IDENTITY = Identity(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
ROLL = Signed.of(Roll(epoch=1, issued_at=0, not_after=1, controllers=()), SIGNER)


def member(serial: int) -> Member:
    """What is believed of a node."""
    return Member(
        serial=serial,
        name=f"n{serial}",
        role=Role.SITE,
        identity=IDENTITY.public_identity,
        pairing=IDENTITY.public_pairing,
        prefixes=(ip_network(f"10.{serial}.0.0/24"),),
        not_after=1 << 39,
    )


class Node:
    """One of two, whose serials are 1 and 2."""

    def __init__(self, serial: int, uplinks: Mapping[str, str]) -> None:
        self.serial = serial
        self.moved: list[tuple[float, str, str | None, str]] = []
        self.steering = Steering(self._moved)
        self.prober = Prober(self.steering.changed)
        self.hands = Hands(
            member(serial),
            Uplinks(uplinks),
            transports(),
            lambda _peer, tunnel: hashlib.blake2s(tunnel.encode()).digest(),
            self.prober,
            self.steering,
            Bridging(f"{serial}"),
            Devices().take_down,
        )
        self.reporter = Reporter(IDENTITY, member(serial))
        self.prober.start()
        self.steering.start(self.prober)
        self.hands.start()

    def want(self, wanted: Mapping[str, Any]) -> object:
        """tunnels, routes, filters, and keys: the public key of the other end of each tunnel that has one."""
        tunnels = tuple(WantedTunnel.model_validate_json(json.dumps(one)) for one in wanted["tunnels"])
        routes = tuple(WantedRoute.model_validate_json(json.dumps(one)) for one in wanted["routes"])
        filters = Filters.model_validate(wanted["filters"]) if wanted["filters"] is not None else None
        body = Wanted(generation=1, serial=self.serial, roll=ROLL, tunnels=tunnels, routes=routes, filters=filters)
        peer = 3 - self.serial
        self.hands.want(Believed(Standing.CURRENT, body, {peer: member(peer)}, tunnels, wanted["keys"]))
        return True

    def ends(self, _: object) -> object:
        """Key and port of this end of each tunnel."""
        standing = self.hands.snapshot.standing
        return {name: (there.local.public_key, there.local.port) for name, there in standing.items()}

    def report(self, _: object) -> object:
        """What an agent reports."""
        has = self.reporter.has(self.hands.snapshot, self.steering.report()[0], ())
        return has.model_dump(mode="json")

    def moves(self, _: object) -> object:
        """All moves of routes so far: when (monotonic clock), of which prefix, to which tunnel, and why."""
        return list(self.moved)

    def _moved(self, moves: Sequence[Move]) -> None:
        """Called from the steering's thread."""
        self.moved += [(time.monotonic(), str(move.key[0]), move.to, move.why) for move in moves]
        self.hands.poke()

    def stop(self) -> None:
        """Take all of its own away."""
        self.hands.stop(keep=False)
        self.prober.stop()


def main() -> None:
    """Arguments: serial, then the names of uplinks, which are those of their devices."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    node = Node(int(sys.argv[1]), {name: name for name in sys.argv[2:]})
    for line in sys.stdin:
        command, argument = json.loads(line)
        asked = {"want": node.want, "ends": node.ends, "report": node.report, "moves": node.moves}
        answer = asked[command](argument)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    node.stop()


if __name__ == "__main__":
    main()
