"""Has packets fit into tunnels: devices have the MTU that gets through, TCP knows it; for the thread of the hands.

An MTU changes in place, and no packet is lost by that: what is too long from then on would have been lost anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from vte_agent.mss_clamp import mss_clamp
from vte_agent.probing.prober import Prober
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import TunnelHealth
from vte_agent.protocol.transport import Transport
from vte_agent.segmentation import DEVICES
from vte_agent.tunnels.contract import TunnelFailed, Tunnels
from vte_agent.upkeep import Standing

_NOTHING_KNOWN = TunnelHealth()

_log = logging.getLogger(__name__)


class Fitting:
    """`follow` is to be called each round. known: the MTU of each device whose MTU has been found, by tunnel."""

    def __init__(self, prober: Prober, transports: Mapping[Transport, Tunnels]) -> None:
        self._prober, self._transports = prober, transports
        self._clamp = mss_clamp()
        self.known: dict[str, int] = {}
        self.problems: tuple[str, ...] = ()

    def follow(
        self,
        standing: Mapping[str, Standing],
        healths: Mapping[str, TunnelHealth],
        given: Collection[str],
        now_s: float,
    ) -> None:
        """Set what has been found. given: tunnels whose MTU is not to be found, but was told."""
        probed = {name: there for name, there in standing.items() if there.peer is not None}
        problems = []
        try:
            self._prober.search_mtu({n: there.goal.spec.mtu for n, there in probed.items() if n not in given})
        except ProbeFailed as error:
            problems.append(f"no MTU is looked for: {error}")
        for name, there in probed.items():
            told = TunnelHealth(mtu=there.goal.spec.mtu)
            health = told if name in given else healths.get(name, _NOTHING_KNOWN)
            try:
                self._set(name, there, health.mtu)
            except TunnelFailed as error:
                problems.append(f"tunnel {name}: {error}")
            if health.mtu_trouble:
                problems.append(f"tunnel {name}: {health.mtu_trouble}")
        if standing:
            self._clamp.want(DEVICES, now_s)
        self.problems = (*problems, *self._clamp.problems)

    def forget(self, name: str) -> None:
        """A tunnel is gone, or its probes are."""
        self.known.pop(name, None)

    def close(self) -> None:
        """Let go of the kernel; what is there stays."""
        self._clamp.close()

    def _set(self, name: str, there: Standing, found: int | None) -> None:
        mtu = min(found or 0, there.goal.spec.mtu)
        if not mtu or self.known.get(name) == mtu:
            return
        self._transports[there.goal.transport].set_mtu(there.goal.spec, mtu)
        _log.info("tunnel=%s device=%s mtu=%d", name, there.goal.spec.device, mtu)
        self.known[name] = mtu
