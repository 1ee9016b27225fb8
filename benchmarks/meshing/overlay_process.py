"""The overlay's app with its gate and its store in a process of its own: STATE HOST:PORT SIGNER.

Every two sites have one tunnel, and not only those with the hubs. A line on standard input is a question; the
answer is one line of JSON: how many agents are on the channel.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from pathlib import Path

from os_ken.base import app_manager

from ryu_apps.events.overlay import OverlayRequest
from ryu_apps.interpreter import tuned
from ryu_apps.overlay.app import SiteOverlay
from ryu_apps.starting.overlay import overlay_arguments
from ryu_apps.starting.settings import OverlaySettings
from ryu_apps.store import StateStore
from stitching.overlay.mesh import MeshPolicy
from stitching.overlay.mesh_rules import PairRule, Say, Selector
from stitching.overlay.rounds import OverlayPolicy
from stitching.overlay.tunnels import TunnelSpec

_EVERY_PAIR = PairRule(Selector(), Selector(), Say.MUST, spec=TunnelSpec(interval_ms=1000))
"""Probed less often than by default: here all sites share the processors of one machine."""

FULL = OverlayPolicy(mesh=MeshPolicy(rules=(_EVERY_PAIR,), lines_per_pair=1))

_ANSWER_S = 120.0


def _connected(app: SiteOverlay) -> int:
    request = OverlayRequest()
    app.post(request)
    return len(request.future.result(_ANSWER_S).connected)


def main() -> None:
    """Run until the input ends."""
    directory, address, signer = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    host, _, port = address.rpartition(":")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    directory.mkdir(exist_ok=True)
    with tuned(), contextlib.closing(StateStore(f"sqlite:///{directory / 'lockstitch.db'}")) as store:
        made = overlay_arguments(OverlaySettings(host, int(port), signer), directory, store)
        made["policy"] = FULL
        manager = app_manager.AppManager.get_instance()
        app: SiteOverlay = manager.instantiate(SiteOverlay, **made)
        app.start()
        for _ in sys.stdin:
            sys.stdout.write(f"{json.dumps(_connected(app))}\n")
            sys.stdout.flush()
        manager.uninstantiate(app.name)


if __name__ == "__main__":
    main()
