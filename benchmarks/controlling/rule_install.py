"""How fast wanted rules are on a switch: ours to the confirming barrier, against ovs-ofctl add-flows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from os_ken.base.app_manager import AppManager
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER
from os_ken.ofproto import ofproto_protocol, ofproto_v1_3

from benchmarks.controlling.rules import PORTS, edge_rules, ofctl_line
from benchmarks.support.controller_process import wait_until
from benchmarks.support.figure import Better, Figure, MeasurementFailed
from mininet_topos.private_ovs import PrivateOvs, add_bridges, bridge_name, connect, private_ovs
from ryu_apps.app import App, handles
from ryu_apps.channel import Channel
from ryu_apps.events import SwitchReady, WantRules
from ryu_apps.installer import Installer
from ryu_apps.installing.keeper import FORWARDING
from ryu_apps.interpreter import tuned
from stitching.rules import FlowRule, rule_set

_RULES = 20_000
_ROUNDS = 3
_LEAST_RATIO = 0.9
_WITHIN_S = 60.0


def rule_install() -> Iterator[Figure]:
    """Rules a second onto fresh bridges of one OVS, ours and ovs-ofctl's by turns; the tables must be equal."""
    ours, plain, bundled = [], [], []
    with private_ovs() as ovs, _installer() as (installer, witness, port):
        # Bridges 1.. are ours and connect; those after them are the peer's, two in each round.
        add_bridges(ovs, 3 * _ROUNDS, [], host_ports=PORTS)
        connect(ovs, _ROUNDS, f"127.0.0.1:{port}")
        wait_until(lambda: len(witness.read) == _ROUNDS, _WITHIN_S, "the bridges did not connect")
        for dpid in range(1, _ROUNDS + 1):
            rules = edge_rules(_RULES, first=dpid * _RULES)
            file = _flow_file(ovs, rules)
            first, second = _ROUNDS + dpid, 2 * _ROUNDS + dpid
            plain.append(_by_ofctl(ovs, first, file))
            ours.append(_by_us(installer, witness, dpid, rules))
            bundled.append(_by_ofctl(ovs, second, file, "--bundle"))
            _check(ovs, dpid, first, second)
    yield _figure("rule_install", ours, "ovs-ofctl add-flows", plain)
    yield _figure("rule_install_bundle", ours, "ovs-ofctl --bundle add-flows", bundled, _LEAST_RATIO)


class _Witness(App):
    """Notes which switches have been read, and which have confirmed all that was sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.read: set[int] = set()
        self.ready: dict[int, float] = {}
        self.news = threading.Condition()

    @handles(ofp_event.EventOFPFlowStatsReply, states=(MAIN_DISPATCHER,))
    def on_flows(self, event: Any) -> None:
        """The installer has this answer in its queue too, ahead of what is wanted next."""
        self.read.add(event.msg.datapath.id)

    @handles(SwitchReady)
    def on_ready(self, event: SwitchReady) -> None:
        """The barrier behind the rules came back."""
        with self.news:
            self.ready[event.dpid] = time.perf_counter()
            self.news.notify_all()

    def when_ready(self, dpid: int) -> float:
        """Wait for a switch; returns when it was ready. Raises MeasurementFailed."""
        with self.news:
            if not self.news.wait_for(lambda: dpid in self.ready, _WITHIN_S):
                raise MeasurementFailed(f"bridge {dpid} did not confirm its rules within {_WITHIN_S:g} s")
            return self.ready[dpid]


@contextmanager
def _installer() -> Iterator[tuple[Installer, _Witness, int]]:
    """The controller's channel and installer alone; gives the port that awaits switches too."""
    ofproto_protocol.set_app_supported_versions([ofproto_v1_3.OFP_VERSION])
    manager = AppManager.get_instance()
    with ExitStack() as stack:
        # As the controller does.
        stack.enter_context(tuned())
        apps = []
        for app_class, arguments in ((Channel, {"port": 0}), (Installer, {}), (_Witness, {})):
            app = manager.instantiate(app_class, **arguments)
            stack.callback(manager.uninstantiate, app.name)
            apps.append(app)
        for app in apps:
            app.start()
        channel, installer, witness = apps
        yield installer, witness, channel.listen()


def _by_us(installer: Installer, witness: _Witness, dpid: int, rules: tuple[FlowRule, ...]) -> float:
    wanted = WantRules(FORWARDING, {dpid: rule_set(rules)})
    start_s = time.perf_counter()
    installer.post(wanted)
    return len(rules) / (witness.when_ready(dpid) - start_s)


def _by_ofctl(ovs: PrivateOvs, dpid: int, file: Path, *options: str) -> float:
    start_s = time.perf_counter()
    ovs.ofctl("add-flows", bridge_name(dpid), str(file), *options)
    return _RULES / (time.perf_counter() - start_s)


def _flow_file(ovs: PrivateOvs, rules: tuple[FlowRule, ...]) -> Path:
    file = ovs.directory / "flows"
    file.write_text("".join(f"{ofctl_line(rule)}\n" for rule in rules))
    return file


def _check(ovs: PrivateOvs, dpid: int, *others: int) -> None:
    """Every bridge of a round has all rules, and the same ones. Raises MeasurementFailed, OvsError."""
    for number in (dpid, *others):
        said = ovs.ofctl("dump-aggregate", bridge_name(number))
        if f"flow_count={_RULES}\n" not in said:
            raise MeasurementFailed(f"bridge {number} should have {_RULES} rules: {said.strip()}")
    for other in others:
        # It fails with the lines that differ.
        ovs.ofctl("diff-flows", bridge_name(dpid), f"unix:{ovs.directory / bridge_name(other)}.mgmt")


def _figure(name: str, ours: list[float], peer: str, peers: list[float], least: float | None = None) -> Figure:
    return Figure.over(
        name, "controller", ours, "rules/s", Better.MORE, peer=peer, peer_value=median(peers), target_ratio=least
    )
