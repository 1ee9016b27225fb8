"""The process that probes, with real sockets: what it does where it may not have as many as it wants."""

from __future__ import annotations

import os
import resource
import signal
from ipaddress import IPv4Address

from tests.probers import prober
from tests.system.waiting import wait_until
from vte_agent.probing.prober import Prober
from vte_agent.probing.sockets import ProbeFailed
from vte_agent.probing.tunnel_probes import ProbedTunnel

__all__ = ["prober"]


def a_tunnel(number: int) -> ProbedTunnel:
    """Through the loopback device, where nobody answers."""
    ends = IPv4Address("127.77.0.1") + 2 * number, IPv4Address("127.77.0.2") + 2 * number
    return ProbedTunnel(f"t{number}", "lo", *ends, peer=number)


def names(prober: Prober) -> set[str]:
    try:
        return set(prober.health())
    except ProbeFailed:
        return set()


def test_tunnels_beyond_the_limit_of_open_files_are_refused_and_the_others_are_probed_on(prober: Prober) -> None:
    assert prober.pid
    soft, hard = resource.prlimit(prober.pid, resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536) or soft > 65_536, "as many as may be"
    resource.prlimit(prober.pid, resource.RLIMIT_NOFILE, (100, hard))
    before, probed = prober.pid, set[str]()
    for number in range(30):
        try:
            prober.add(a_tunnel(number))
            probed.add(f"t{number}")
        except ProbeFailed as error:
            assert "Each tunnel takes 5 open files" in str(error)  # noqa: PT017  # what comes after is of interest
    assert 10 <= len(probed) < 20
    assert names(prober) == probed and prober.pid == before
    prober.remove("t0")
    prober.add(a_tunnel(29))
    assert names(prober) == probed - {"t0"} | {"t29"}


def test_a_process_that_follows_another_probes_what_that_one_did_but_what_was_taken_away(prober: Prober) -> None:
    for number in range(3):
        prober.add(a_tunnel(number))
    prober.remove("t1")
    assert prober.pid
    os.kill(prober.pid, signal.SIGKILL)
    wait_until(lambda: names(prober) == {"t0", "t2"}, 20, lambda: names(prober))
