"""How long packets between two sites stay away when the way that they take is cut, or gets bad; no controller."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mininet_topos.overlay.flow import Receiver, flow
from mininet_topos.overlay.two_nodes import TwoNodes, host, two_nodes
from mininet_topos.overlay.underlay import Uplink
from mininet_topos.overlay.world import ENVIRONMENT
from mininet_topos.waiting import wait_until

_UPLINKS = (Uplink("up0", 100.0, 3.0), Uplink("up1", 100.0, 5.0))
_WITHIN_S = 60.0
_MORE = 100

KNOWN_S = 15.0
"""How long quality is measured before it is known what is usual."""


def silences_ms(transport: str, interval_ms: int, cuts: int) -> list[float]:
    """The longest silence of a 5 ms flow in each of so many silent cuts of the uplink in use. Raises LabError."""
    with joined(transport, interval_ms) as nodes, steady(nodes) as receiver:
        found = []
        for _ in range(cuts):
            tunnel = in_use(nodes)
            receiver.forget()
            more(receiver)
            line = nodes.underlay.link("ber", nodes.tunnels[tunnel][0])
            line.cut()
            _wait_left(nodes, 1, tunnel)
            more(receiver)
            found.append(receiver.longest_silence_s() * 1e3)
            line.restore()
        return found


def brownouts_s(transport: str, *, loss: float = 0.0, delay_ms: float = 0.0, runs: int) -> list[float]:
    """Seconds until the sender has left a tunnel that begins to lose packets, or takes longer. Raises LabError."""
    found = []
    for _ in range(runs):
        # Each between two nodes of its own: routes that have just come back stay where they are for a minute.
        with joined(transport, 50) as nodes:
            tunnel = in_use(nodes)
            # What was before is known by what was measured lately.
            time.sleep(KNOWN_S)
            began_s = time.monotonic()
            worsen(nodes, tunnel, loss, delay_ms)
            _wait_left(nodes, 1, tunnel)
            found.append(time.monotonic() - began_s)
    return found


def worsen(nodes: TwoNodes, tunnel: str, loss: float = 0.0, delay_ms: float = 0.0) -> None:
    """Have the uplink of a tunnel lose this share of the first node's packets, and take so much longer."""
    uplink = nodes.tunnels[tunnel][0]
    before_ms = next(one.delay_ms for one in _UPLINKS if one.name == uplink)
    nodes.underlay.lose("ber", uplink, "out", loss)
    nodes.underlay.link("ber", uplink).set(delay_ms=before_ms + delay_ms)


@contextmanager
def joined(transport: str, interval_ms: int) -> Iterator[TwoNodes]:
    """Two nodes with a tunnel over each of their two uplinks."""
    with tempfile.TemporaryDirectory() as directory, two_nodes(_UPLINKS, Path(directory) / "log") as nodes:
        nodes.interval_ms = interval_ms
        nodes.want({f"{transport}-{uplink.name}": (uplink.name, transport) for uplink in _UPLINKS})
        yield nodes


@contextmanager
def steady(nodes: TwoNodes) -> Iterator[Receiver]:
    """A packet every 5 ms from the host behind one site to the one behind the other."""
    near, far = nodes.nodes
    with flow(near.host, host(1), far.host, host(2), environment=ENVIRONMENT) as receiver:
        more(receiver)
        yield receiver


def more(receiver: Receiver) -> None:
    """Wait until packets go on coming."""
    seen = len(receiver.read())
    wait_until(lambda: len(receiver.read()) > seen + _MORE, _WITHIN_S, lambda: "no packet comes")


def taken(nodes: TwoNodes) -> set[str | None]:
    """The tunnels that routes take at either site."""
    return {_way(nodes, serial) for serial in (1, 2)}


def _way(nodes: TwoNodes, serial: int) -> str | None:
    way: str | None = nodes.nodes[serial - 1].ask("report")["routes"][0]["tunnel"]
    return way


def _wait_left(nodes: TwoNodes, serial: int, tunnel: str) -> None:
    wait_until(lambda: _way(nodes, serial) not in (tunnel, None), _WITHIN_S, lambda: taken(nodes))


def in_use(nodes: TwoNodes) -> str:
    """All tunnels are up, and both sites use one of them: that one."""
    nodes.wait(lambda one: one["state"] == "up", _WITHIN_S)
    wait_until(lambda: len(taken(nodes)) == 1 and None not in taken(nodes), _WITHIN_S, lambda: taken(nodes))
    (tunnel,) = taken(nodes)
    return str(tunnel)
