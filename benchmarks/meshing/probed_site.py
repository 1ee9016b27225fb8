"""A site in a process of its own, with the agent's prober and steering: NUMBER (0 or 1), and names of its tunnels.

A line on standard input is a question; the answer is one line of JSON: how often its route has moved so far and
why, how often a tunnel was found dead, and how late (ms) the prober's timer was at worst since it was last asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from benchmarks.meshing.saturated import address, prefix
from vte_agent.failover import Move
from vte_agent.probing.prober import Prober
from vte_agent.probing.session import Direction
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth
from vte_agent.protocol.wanted import Liveness, WantedRoute
from vte_agent.steering import Steered, Steering


@dataclass
class Seen:
    """What has happened so far."""

    moves: list[str] = field(default_factory=list)
    deaths: int = 0
    ready: bool = False


def main() -> None:
    """Probe and steer until the input ends."""
    number, tunnels, seen = int(sys.argv[1]), sys.argv[2:], Seen()

    def moved(moves: Sequence[Move]) -> None:
        seen.moves += [move.why for move in moves]

    def changed(healths: Mapping[str, TunnelHealth]) -> None:
        seen.deaths += sum(Direction.DEAD in (one.alive.heard, one.alive.hears) for one in healths.values())
        steering.changed(healths)

    steering = Steering(moved)
    prober = Prober(changed)
    prober.start()
    for place, tunnel in enumerate(tunnels):
        here, there = ip_address(address(place, number)), ip_address(address(place, 1 - number))
        prober.add(ProbedTunnel(tunnel, tunnel, here, there, peer=1, liveness=Liveness()))
    steering.want(
        Steered(
            routes=(WantedRoute(prefixes=(ip_network(prefix(1 - number)),), tunnels=tuple(tunnels)),),
            devices={tunnel: tunnel for tunnel in tunnels},
            local=(ip_network(prefix(number)),),
        )
    )
    steering.start(prober)
    for _ in sys.stdin:
        alive = [one.alive for one in prober.health().values()]
        said = {
            "ready": all(one.heard is one.hears is Direction.ALIVE for one in alive),
            "moves": seen.moves,
            "deaths": seen.deaths,
            "late_ms": prober.take_worst_late_s() * 1e3,
        }
        sys.stdout.write(f"{json.dumps(said)}\n")
        sys.stdout.flush()
    steering.stop()
    prober.stop()


if __name__ == "__main__":
    main()
