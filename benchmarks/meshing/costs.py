"""What the agent and its filters take from the throughput of a tunnel that is the same in all else.

Two pairs of sites, each with a host behind it and a cable between them: one has a wireguard-go made by hand, the
other an agent at each end. They take turns, so that what else runs on the machine hits both.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from benchmarks.meshing.bare import bare_tunnel
from benchmarks.support.figure import MeasurementFailed
from mininet_topos.overlay.cabled import Cabled
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.two_nodes import NAMES, Node, TwoNodes, host, host_behind, two_nodes
from mininet_topos.overlay.underlay import Place, Uplink
from mininet_topos.waiting import NotInTime, wait_until
from vte_agent.protocol.filters import Filters, Pair, Pattern, Standing

BARE = "bare"

_UPLINKS = (Uplink("up0"),)
_TUNNEL = "t"
_WITHIN_S, _STOPPED_S = 60.0, 5.0
_CALM_S = 3.0
"""What it costs to go on after a rest, and to change the rules, is over by then: it is not what is asked for."""
_TCP, _UDP, _PORT = 6, 17, 7002
_STANDINGS = 8


@dataclass(frozen=True)
class Ends:
    """The two hosts of a pair."""

    near: Enclosure
    far: Enclosure


def throughputs_mbps(rules: tuple[int, ...], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Of one TCP flow, by what it was measured with: BARE, or a number of rules. Raises LabError.

    rules: with how many rules of the policy; each is measured once in each round, for so many seconds.
    """
    found: dict[str, list[float]] = {name: [] for name in (BARE, *map(str, rules))}
    with ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
        nodes = stack.enter_context(two_nodes(_UPLINKS, log, Cabled))
        nodes.filters = filters_of(rules[0])
        nodes.want({_TUNNEL: ("up0", "wireguard")})
        nodes.wait(lambda one: one["mtu"] is not None, _WITHIN_S)
        bare = stack.enter_context(_bare_pair(nodes.tunnel(1, _TUNNEL)["mtu"]))
        with_agent = Ends(*(node.host for node in nodes.nodes))
        for _ in range(rounds):
            with _at_rest(nodes):
                found[BARE].append(_mbps(bare, seconds))
            for number in rules:
                nodes.filters = filters_of(number)
                nodes.prefer(_TUNNEL)
                nodes.wait(lambda one: one["state"] == "up", _WITHIN_S)
                nodes.taken(_TUNNEL)
                time.sleep(_CALM_S)
                found[str(number)].append(_mbps(with_agent, seconds))
    return found


def filters_of(n_rules: int) -> Filters:
    """The rule that lets the flow pass and its answers back comes last of those that all packets meet."""
    standings = [Standing(id=n, prefixes=(ip_network(f"10.{n}.0.0/16"),)) for n in range(1, _STANDINGS + 1)]
    ways = [(a.id, b.id) for a in standings for b in standings if a.id != b.id]
    patterns: list[list[Pattern]] = [[] for _ in ways]
    for number in range(n_rules):
        port = 1024 + number
        patterns[number % len(ways)].append(
            Pattern(rule=f"r{number}", allow=number % 2 == 0, protocol=_UDP, ports=((port, port),))
        )
    flow = {(1, 2): False, (2, 1): True}
    for place, way in enumerate(ways):
        if way in flow:
            last = Pattern(rule="flow", allow=True, protocol=_TCP, ports=((_PORT, _PORT),), reply=flow[way])
            patterns[place].append(last)
    pairs = (Pair(source=a, target=b, patterns=tuple(own)) for (a, b), own in zip(ways, patterns, strict=True))
    return Filters(standings=tuple(standings), pairs=tuple(pairs))


@contextmanager
def _bare_pair(mtu: int) -> Iterator[Ends]:
    with ExitStack() as stack:
        cabled = stack.enter_context(Cabled([Place(name, _UPLINKS) for name in NAMES]))
        hosts = []
        ends = []
        for serial, name in enumerate(NAMES, 1):
            at = cabled.at(name)
            hosts.append(stack.enter_context(host_behind(at, serial)))
            ends.append((at, str(cabled.address(name, "up0")), f"10.{serial}.0.0/24"))
        stack.enter_context(bare_tunnel(ends, mtu))
        yield Ends(*hosts)


@contextmanager
def _at_rest(nodes: TwoNodes) -> Iterator[None]:
    """All that runs at the nodes stands still; it goes on again however this ends."""
    with ExitStack() as stack:
        for node in nodes.nodes:
            stack.callback(_go_on, node)
            # What has entered the place for it stops a moment later, and wakes it if it was woken just before.
            wait_until(partial(_stops, node), _STOPPED_S, lambda: "a node does not stop")
        yield


def _stops(node: Node) -> bool:
    node.at.run(["sh", "-c", "kill -STOP -1"])
    return _is_stopped(node.process.pid)


def _go_on(node: Node) -> None:
    with suppress(NotInTime):
        # Else it may be about to stop, and would not be woken.
        wait_until(partial(_is_stopped, node.process.pid), 1.0, lambda: "it goes on")
    node.at.run(["sh", "-c", "kill -CONT -1"])
    # It is outside.
    node.process.send_signal(signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


_TAKE = """
import json, socket, sys, time
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
server.settimeout(20)
connection, _ = server.accept()
connection.settimeout(20)
room, total = bytearray(1 << 20), connection.recv_into(bytearray(1))
begun_s = ended_s = time.monotonic()
while came := connection.recv_into(room):
    total, ended_s = total + came, time.monotonic()
print(json.dumps([total, ended_s - begun_s]), flush=True)
"""

_GIVE = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as to:
    data, until_s = bytes(1 << 18), time.monotonic() + float(sys.argv[3])
    while time.monotonic() < until_s:
        to.sendall(data)
"""


def _mbps(ends: Ends, seconds: float) -> float:
    """One TCP flow from one host to the other, by what arrives."""
    python = ["python3", "-S", "-c"]
    there = [host(2), str(_PORT)]
    taking = subprocess.Popen(
        ends.far.enter([*python, _TAKE, *there]), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with taking:
        assert taking.stdout is not None
        if not taking.stdout.readline():
            raise MeasurementFailed("nobody listens for the flow")
        ends.near.run([*python, _GIVE, *there, f"{seconds}"], timeout_s=seconds + 20)
        said = taking.stdout.readline()
    if not said:
        raise MeasurementFailed("the flow has not arrived")
    total, took_s = json.loads(said)
    return float(8e-6 * total / took_s)
