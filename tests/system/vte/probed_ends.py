"""Both ends of a tunnel that are probed, over a loopback, in the process of the test."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_address

from mininet_topos.namespaces import network_of
from mininet_topos.overlay.enclosure import Enclosure
from vte_agent.probing.session import Need
from vte_agent.probing.tunnel_probes import ProbedTunnel, TunnelHealth, TunnelProbes
from vte_agent.protocol.wanted import Liveness

Ends = tuple[TunnelProbes, TunnelProbes]

_ADDRESSES = [ip_address(f"127.0.0.{number}") for number in (2, 3)]


@contextmanager
def probed_ends() -> Iterator[Ends]:
    """They are used: both are probed as often as any."""
    with ExitStack() as stack:
        place = Enclosure("ends")
        stack.callback(place.close)
        with network_of(place.pid):
            one, other = (
                stack.enter_context(
                    closing(
                        TunnelProbes(
                            ProbedTunnel(
                                "t", "lo", _ADDRESSES[end], _ADDRESSES[1 - end], 1, Liveness(), Need.USED
                            ),
                            discriminator=end + 1,
                            now_s=time.monotonic(),
                        )
                    )
                )
                for end in (0, 1)
            )
        yield one, other


def run(ends: Ends, seconds: float) -> list[TunnelHealth]:
    """What both ends say all the time."""
    said = []
    readers = {source: one for one in ends for source in one.readers}
    end_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < end_s:
        for one in ends:
            one.send_due(now_s)
        for source in select.select(list(readers), [], [], 0.01)[0]:
            readers[source].read(source)
        for one in ends:
            late_s = max(0.0, time.monotonic() - now_s - 0.01)
            one.judge(time.monotonic(), late_s)
            said.append(one.health(time.monotonic()))
    return said
