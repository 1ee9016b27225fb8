"""The real stitcher and the real installer over model switches, on one thread and a clock that tests turn.

Probes cross what the switches really hold: a frame that is sent through the tables of one comes out where the
model of the data plane (tests/model_switch.py) says, or nowhere.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER

from ryu_apps.app import Event, Tick
from ryu_apps.events import (
    ApplyStages,
    NetworkChanged,
    ProbeArrived,
    RulesMissing,
    StagesApplied,
    SwitchReady,
    VnetsChanged,
    WantRules,
)
from ryu_apps.installer import Installer
from ryu_apps.installing.keeper import FORWARDING
from ryu_apps.stitcher import Stitcher
from ryu_apps.stitches.resuming import take_up
from stitching.kinds import rules as stitch_rules
from stitching.match import ETH_PROBE, ETH_VLAN, VLAN_PRESENT
from stitching.network import Host, LinkKey, Network, reverse
from stitching.pipeline import default_rules
from stitching.rules import PORT_CONTROLLER, Entry, EntryKey
from stitching.stitch import Stitch
from stitching.vnet import Directory, VNet
from tests.model_switch import ModelNetwork, ModelSwitch, Packet
from tests.unit.late_switch import LateSwitch, Room, Said
from tests.unit.stitcher_bench import MemoryStore

FLIGHT_S = 0.002


class _Installer(Installer):
    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(clock=lambda: world.now_s)

    def publish(self, occurred: Event) -> None:
        self._world.events.append(occurred)

    def post(self, occurred: Event) -> None:
        self._world.events.append(occurred)

    def _pause(self, batch: Any) -> None:
        self._world.timers.append((self._world.now_s + batch.request.pause_s, batch))


class _Stitcher(Stitcher):
    def __init__(self, world: World) -> None:
        self._world = world
        clock = {"clock": lambda: world.now_s, "monotonic": lambda: world.now_s}
        super().__init__(store=world.store, key=b"k" * 32, policy=None, **clock)

    def publish(self, occurred: Event) -> None:
        self._world.events.append(occurred)


class World:
    """The fabric as it is, the fabric as the controller knows it, the switches, and the two apps."""

    def __init__(self, network: Network, vnets: tuple[VNet, ...], store: MemoryStore) -> None:
        self.wired, self.vnets, self.store = network, vnets, store
        self.directory = Directory.of(vnets)
        self.hosts: dict[str, Host] = dict(network.hosts)
        self.cut: set[LinkKey] = set()
        self._default: tuple[Network, Mapping[int, Mapping[EntryKey, Entry]]] | None = None
        self.losing: dict[LinkKey, int] = {}
        self.slow_ms: dict[LinkKey, float] = {}
        self.probes = 0
        self.now_s = 1000.0
        self.events: deque[Any] = deque()
        self.timers: list[tuple[float, Any]] = []
        self.tables: dict[int, dict[EntryKey, Entry]] = {dpid: {} for dpid in network.dpids}
        self.room = {dpid: Room(table) for dpid, table in self.tables.items()}
        self.connections: dict[int, LateSwitch] = {}
        self._models: dict[int, tuple[dict[EntryKey, Entry], ModelSwitch]] = {}
        self.start()

    # -- the controller -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the controller on what is stored; no switch is connected."""
        self.events.clear()
        self.timers.clear()
        self.connections.clear()
        self.installer, self.stitcher = _Installer(self), _Stitcher(self)
        for app in (self.installer, self.stitcher):
            app.log.disabled = True
        take_up(self.stitcher._life)
        self.stitcher.on_vnets(VnetsChanged(self.vnets))
        self.tell_network()

    def tell_network(self) -> None:
        """The controller hears how the fabric is now."""
        self.known = replace(
            self.wired,
            links={key: link for key, link in self.wired.links.items() if key not in self.cut},
            hosts=dict(self.hosts),
        )
        rules = default_rules(self.known, self.directory)
        self.installer.on_want(WantRules(FORWARDING, rules))
        self.stitcher.on_network(NetworkChanged(self.known))
        self.deliver()

    def deliver(self) -> None:
        """Have the apps hear what they told each other."""
        while self.events:
            event = self.events.popleft()
            match event:
                case ApplyStages():
                    self.installer.on_apply(event)
                case WantRules():
                    self.installer.on_want(event)
                case StagesApplied():
                    self.stitcher.on_applied(event)
                case RulesMissing():
                    self.stitcher.on_missing(event)
                case SwitchReady():
                    self.stitcher.on_ready(event)
                case _ if type(event).__name__ == "_PauseOver":
                    self.installer.on_pause_over(event)
                case _:
                    pass  # for apps that are not here

    def tick(self, seconds: float, *names: str) -> None:
        """Time passes, and the timers of these names run out."""
        self.now_s += seconds
        due = [batch for at_s, batch in self.timers if at_s <= self.now_s]
        self.timers = [(at_s, batch) for at_s, batch in self.timers if at_s > self.now_s]
        for batch in due:
            self.installer.on_pause_over(SimpleNamespace(batch=batch))  # type: ignore[arg-type]
        for name in names:
            if name == "deadlines":
                self.installer.on_deadline(Tick(name))
            else:
                self.stitcher.on_tick(Tick(name))
        self.deliver()

    def ask(self, request: Any) -> Any:
        """Ask the stitcher; raises what it raises."""
        handlers = {"CreateStitch": "create", "DeleteStitch": "delete", "ChangeStitch": "change"}
        handlers |= {"CheckStitch": "check", "StitchesRequest": "list"}
        getattr(self.stitcher, f"on_{handlers[type(request).__name__]}")(request)
        self.deliver()
        return request.future.result(0)

    # -- the switches ---------------------------------------------------------------------------------------

    def connect(self, dpid: int) -> None:
        """A switch connects, perhaps before the end of its older connection is known."""
        connection = LateSwitch(dpid, self.tables[dpid], inject=self.inject)
        connection.refuses = self.room[dpid]  # type: ignore[assignment]  # only asked whether a key is in it
        self.connections[dpid] = connection
        for app in (self.installer, self.stitcher):
            app.on_state(connection.state(MAIN_DISPATCHER))
        self.deliver()

    def hang_up(self, dpid: int) -> None:
        """A connection is over; what was on its way is lost."""
        connection = self.connections.pop(dpid, None)
        if connection is None:
            return
        connection.closed = True
        for app in (self.stitcher, self.installer):
            app.on_state(connection.state(DEAD_DISPATCHER))
        self.deliver()

    def say(self, dpid: int, place: int) -> None:
        """One thing that a switch has to say arrives."""
        said = self.connections[dpid].saying.pop(place)
        match said.kind:
            case "barrier":
                self.installer.on_barrier(said.event)
            case "error":
                self.installer.on_error(said.event)
            case "holds":
                self.installer.on_holds(said.event)
            case _:
                self.stitcher.on_probe(ProbeArrived(dpid, said.event, self.now_s + FLIGHT_S + said.late_s))
        self.deliver()

    def flow(self) -> None:
        """Everything on its way arrives and is answered, until nothing is on its way."""
        busy = True
        while busy:
            busy = False
            for dpid in list(self.connections):
                connection = self.connections.get(dpid)
                while connection is not None and (connection.inbox or connection.saying):
                    busy = True
                    connection.work(len(connection.inbox))
                    while connection.saying:
                        self.say(dpid, 0)
                if connection is not None and connection.closed:
                    self.hang_up(dpid)

    # -- packets --------------------------------------------------------------------------------------------

    def inject(self, dpid: int, frame: bytes) -> None:
        """Carry a probe through the tables, to the controller where a switch sends it there."""
        target, source = frame[:6].hex(":"), frame[6:12].hex(":")
        kind, label = struct.unpack_from("!HH", frame, 12)
        labels: tuple[int, ...] = ()
        if kind == ETH_VLAN:
            labels, frame = (VLAN_PRESENT | label,), frame[:12] + frame[16:]
        packet = Packet(source, target, eth_type=ETH_PROBE, labels=labels)
        fate = self.model().inject(dpid, PORT_CONTROLLER, packet)
        self.probes += 1
        if any(self.probes % self.losing[key] == 0 for key in fate.crossed if key in self.losing):
            return
        late_s = 1e-3 * sum(self.slow_ms.get(key, 0.0) for key in fate.crossed)
        for punted in fate.punted:
            if (connection := self.connections.get(punted)) is not None:
                connection.saying.append(Said("packet", frame, late_s))

    def model(self) -> ModelNetwork:
        """The data plane as it is now."""
        model = ModelNetwork(self.wired)
        for key in self.cut:
            model.cut(key)
        for dpid, table in self.tables.items():
            cached = self._models.get(dpid)
            if cached is None or cached[0] != table:
                switch = ModelSwitch()
                for entry in sorted(table.values(), key=lambda entry: type(entry).__name__ == "FlowRule"):
                    switch.add(entry)
                cached = self._models[dpid] = dict(table), switch
            model.switches[dpid] = cached[1]
        return model

    # -- what holds -----------------------------------------------------------------------------------------

    def wanted(self, stitches: list[Stitch]) -> dict[int, dict[EntryKey, Entry]]:
        """What every switch should have for these stitches and the default rules."""
        if self._default is None or self._default[0] is not self.known:
            self._default = self.known, default_rules(self.known, self.directory)
        wanted = {dpid: dict(rules) for dpid, rules in self._default[1].items()}
        for stitch in stitches:
            for dpid, entries in stitch_rules(stitch).items():
                wanted[dpid].update(entries)
        return wanted

    def wires(self) -> Iterator[LinkKey]:
        """Each wire once."""
        return (key for key in self.wired.links if key < reverse(key))
