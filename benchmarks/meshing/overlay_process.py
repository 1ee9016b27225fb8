"""The overlay's app with its gate and its store in a process of its own: STATE HOST:PORT SIGNER [full].

With `full` every two sites have one tunnel, and not only those with the hubs. A line on standard input is a
question, [command, argument] in JSON; the answer is one line of JSON. Times are by the wall clock, which all
processes of a machine share.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from os_ken.base import app_manager

from ryu_apps.events.overlay import OverlayAnswer, OverlayRequest, PutClass
from ryu_apps.interpreter import tuned
from ryu_apps.overlay.app import SiteOverlay
from ryu_apps.starting.overlay import overlay_arguments
from ryu_apps.starting.settings import OverlaySettings
from ryu_apps.store import StateStore
from stitching.overlay.mesh import MeshPolicy
from stitching.overlay.mesh_rules import PairRule, Say, Selector
from stitching.overlay.rounds import OverlayPolicy
from stitching.overlay.scoring import AppClass
from stitching.overlay.site_plan import ClassMatch
from stitching.overlay.tunnels import TunnelSpec

_EVERY_PAIR = PairRule(Selector(), Selector(), Say.MUST, spec=TunnelSpec(interval_ms=1000))
"""Probed less often than by default: here all sites share the processors of one machine."""

FULL = OverlayPolicy(mesh=MeshPolicy(rules=(_EVERY_PAIR,), lines_per_pair=1))

_ANSWER_S = 120.0
_UDP = 17


class Asked:
    """What can be asked of the app."""

    def __init__(self, app: SiteOverlay) -> None:
        self._app = app

    def put_class(self, port: int) -> float:
        """Have a class be that of the packets to this UDP port: news to every site. When it was asked for."""
        request = PutClass(1, (ClassMatch(protocol=_UDP, ports=(port, port)),), AppClass("measured"))
        asked_s = time.time()
        self._app.post(request)
        request.future.result(_ANSWER_S)
        return asked_s

    def look(self, _: object) -> dict[str, Any]:
        """How many are on the channel, how many tunnels there are and are up, and the most memory it took."""
        request = OverlayRequest()
        self._app.post(request)
        answer = request.future.result(_ANSWER_S)
        peak_kb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        return {
            "connected": len(answer.connected),
            "tunnels": len(answer.tunnels),
            "up": len(_up(answer)),
            "behind": sum(
                serial not in answer.said or answer.said[serial].generation < generation
                for serial, generation in answer.told.items()
            ),
            "peak_mb": peak_kb / 1024,
        }


def _up(answer: OverlayAnswer) -> set[str]:
    """The tunnels that both ends call up."""
    ends = Counter(one.name for has in answer.said.values() for one in has.tunnels if one.state == "up")
    return {name for name, times in ends.items() if times == 2}


def main() -> None:
    """Run until the input ends."""
    directory, address, signer = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    host, _, port = address.rpartition(":")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    directory.mkdir(exist_ok=True)
    with tuned(), contextlib.closing(StateStore(f"sqlite:///{directory / 'lockstitch.db'}")) as store:
        made = overlay_arguments(OverlaySettings(host, int(port), signer), directory, store)
        if "full" in sys.argv[4:]:
            made["policy"] = FULL
        manager = app_manager.AppManager.get_instance()
        app: SiteOverlay = manager.instantiate(SiteOverlay, **made)
        app.start()
        asked = Asked(app)
        commands: dict[str, Callable[[Any], object]] = {"class": asked.put_class, "look": asked.look}
        for line in sys.stdin:
            command, argument = json.loads(line)
            sys.stdout.write(f"{json.dumps(commands[command](argument))}\n")
            sys.stdout.flush()
        manager.uninstantiate(app.name)


if __name__ == "__main__":
    main()
