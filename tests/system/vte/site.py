"""The process of one site in tests: prober and steering, told what to do by lines of JSON.

Each line is [command, argument]; each is answered by a line. It stops when its input ends.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from ipaddress import ip_address, ip_network
from typing import Any

from vte_agent.class_marks import class_marks
from vte_agent.failover import Move
from vte_agent.probing.prober import Prober
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth
from vte_agent.protocol.wanted import Liveness, WantedClass, WantedRoute
from vte_agent.steering import Steered, Steering


class Agent:
    """What the tests need of an agent."""

    def __init__(self) -> None:
        self.moves: list[tuple[float, str, str | None, str]] = []
        self.steering = Steering(self._moved)
        self.prober = Prober(self.steering.changed)
        self.prober.start()
        self.marks = class_marks()
        self._started = False

    def _moved(self, moves: Sequence[Move]) -> None:
        self.moves += [(time.time(), str(move.key[0]), move.to, move.why) for move in moves]

    def want(self, wanted: Mapping[str, Any]) -> object:
        for tunnel in wanted["tunnels"]:
            self.prober.add(
                ProbedTunnel(
                    *(tunnel["name"], tunnel["device"]),
                    *(ip_address(tunnel["address"]), ip_address(tunnel["peer_address"])),
                    peer=1,
                    liveness=Liveness(interval_ms=tunnel["interval_ms"]),
                )
            )
        classes = [WantedClass.model_validate_json(json.dumps(c)) for c in wanted.get("classes", ())]
        if classes:
            assert self.marks.want(tuple(classes), time.monotonic()), self.marks.problems
        self.steering.want(
            Steered(
                routes=tuple(WantedRoute.model_validate_json(json.dumps(r)) for r in wanted["routes"]),
                classes={c.name: c.number for c in classes},
                devices={t["name"]: t["device"] for t in wanted["tunnels"]},
                local=tuple(ip_network(p) for p in wanted["local"]),
                sources=(ip_address(wanted["source"]),),
            )
        )
        if not self._started:
            self._started = True
            self.steering.start(self.prober)
        return True

    def report(self, _: object) -> object:
        routes, problems = self.steering.report()
        late_s, healths = 0.0, dict[str, TunnelHealth]()
        # Where it is just being started again there is nothing to say of tunnels.
        with suppress(ProbeFailed):
            late_s, healths = self.prober.take_worst_late_s(), dict(self.prober.health())
        return {
            "routes": [route.model_dump(mode="json") for route in routes],
            "problems": problems,
            "moves": self.moves,
            "late_ms": late_s * 1e3,
            "tunnels": {name: asdict(health) for name, health in healths.items()},
            "cpu_s": time.process_time(),
        }

    def stop(self) -> None:
        self.steering.stop()
        self.prober.stop()
        self.marks.want(None, time.monotonic())
        self.marks.close()


def main() -> None:
    agent = Agent()
    for line in sys.stdin:
        command, argument = json.loads(line)
        answer = {"want": agent.want, "report": agent.report}[command](argument)
        print(json.dumps(answer), flush=True)  # noqa: T201
    agent.stop()


if __name__ == "__main__":
    main()
