"""Keeps the links of a node's bridge as they are wanted, and says how they are; for the thread of the hands."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from vte_agent.bridging import guard, openvswitch
from vte_agent.bridging.difference import LinkDevice, Make, Place, Plug, PlugIn, PullOut, Remove, Step, steps
from vte_agent.bridging.openvswitch import BridgeFailed, BridgeNow, NoBridge
from vte_agent.bridging.vxlan import LinkDevices, LinkFailed, link_device
from vte_agent.protocol.has import BridgeReport, LinkReport
from vte_agent.protocol.wanted import Address, WantedLink

LOOK_EVERY_S, AGAIN_EVERY_S = 5.0, 5.0
"""How often the bridge is read while all is as it should be, and how soon what failed is tried again."""

_MOST_CHARS = 300

_log = logging.getLogger("vte_agent.bridging")


class Bridging:
    """`want` makes it so; what cannot be is tried again, and what is there meanwhile stays.

    node tells device names of several nodes of one machine apart. Without a place the node has no bridge.
    """

    def __init__(self, node: str, place: Place | None = None, site: guard.Site = guard.NO_SITE) -> None:
        self._node, self._place, self._site = node, place, site
        self._devices = LinkDevices()
        self._bridge: BridgeNow | None = None
        self._is_known = place is None
        """Whether it is known if there is a bridge: until then what is there may be what is wanted."""
        self._read_s = float("-inf")
        self._guard = guard.links_guard()
        self._anchors: frozenset[Address] = frozenset()
        """All that links have had an end at: what others still send there is not to go on in the clear."""
        self._failed: dict[str, tuple[str, float]] = {}
        self._trouble = ""
        self.links: tuple[LinkReport, ...] = ()

    @property
    def bridge(self) -> BridgeReport | None:
        """The bridge as it was read last; None where there is none."""
        known = self._bridge
        return BridgeReport(name=known.name, dpid=known.dpid) if known is not None else None

    @property
    def problems(self) -> tuple[str, ...]:
        """What stands in the way."""
        failed = (f"{name}: {why}" for name, (why, _) in self._failed.items())
        return (*filter(None, [self._trouble]), *self._guard.problems, *failed)

    def want(self, links: Sequence[WantedLink] | None, now_s: float) -> None:
        """From now on these; None: it is not known which, and what is there stays."""
        self._look(now_s)
        if links is None:
            return
        if links and self._place is None:
            self._trouble = "links to other bridges are wanted, and this agent was given no --bridge"
        usable = tuple(links) if self._bridge is not None else ()
        try:
            devices = self._devices.found()
        except LinkFailed as error:
            self._fail("links", str(error), now_s)
            return
        if not self._keeps_inside(tuple(links), devices, now_s) or not self._is_known:
            return
        plugs = self._bridge.plugs if self._bridge is not None else {}
        todo = steps(usable, self._place, devices, plugs, self._name)
        self._carry_out(todo, devices, now_s)
        self.links = tuple(self._report(link, plugs) for link in links)

    def _look(self, now_s: float) -> None:
        """Read the bridge, where it is time to or something is not as it should be."""
        waits = all(link.port is not None or link.why for link in self.links)
        if self._place is None or (waits and now_s - self._read_s < LOOK_EVERY_S):
            return
        self._read_s = now_s
        try:
            self._bridge = openvswitch.read(self._place)
        except NoBridge as error:
            self._bridge, self._is_known, self._trouble = None, True, str(error)
        except BridgeFailed as error:
            # It goes on with what was read last: Open vSwitch may be about to be started again.
            self._trouble = f"bridge {self._place.bridge}: {error}"
        else:
            self._is_known, self._trouble = True, ""

    def _keeps_inside(
        self, wanted: tuple[WantedLink, ...], devices: Mapping[str, LinkDevice], now_s: float
    ) -> bool:
        """Whether nothing gets out of the tunnels: from before a device is made until the agent ends."""
        self._anchors |= guard.anchors_of(wanted, devices.values())
        return self._guard.want(guard.Guarded(self._site, wanted, self._anchors), now_s)

    def _carry_out(self, todo: Sequence[Step], devices: Mapping[str, LinkDevice], now_s: float) -> None:
        waiting = {name: failed for name, failed in self._failed.items() if now_s < failed[1]}
        self._failed = {name: waiting[name] for name in map(_name, todo) if name in waiting}
        for step in todo:
            name = _name(step)
            if name in self._failed:
                continue
            try:
                self._do(step, devices)
            except LinkFailed as error:
                self._fail(name, str(error), now_s)
                continue
            except BridgeFailed as error:
                # It would say the same of all the others, and take its time for each.
                self._fail(name, str(error), now_s)
                return
            if isinstance(step, PlugIn | PullOut):
                # What number it has got is read with the next look.
                self._read_s = float("-inf")
            _log.info("link=%s step=%s", name, type(step).__name__)

    def _do(self, step: Step, devices: Mapping[str, LinkDevice]) -> None:
        match step:
            case Make(link, device):
                assert self._place is not None
                self._devices.make(link, device, self._place)
            case PlugIn(link, device):
                assert self._place is not None
                openvswitch.plug_in(self._place, device, link.name)
            case PullOut(device, _, place):
                openvswitch.pull_out(place, device)
            case Remove(gone):
                self._devices.remove(gone, [one for name, one in devices.items() if name != gone.device])

    def _report(self, link: WantedLink, plugs: Mapping[str, Plug]) -> LinkReport:
        why = self._failed[link.name][0] if link.name in self._failed else ""
        plug = plugs.get(self._name(link))
        if plug is not None:
            why = why or plug.error
        return LinkReport(name=link.name, port=None if why or plug is None else plug.number, why=why[:_MOST_CHARS])

    def _name(self, link: WantedLink) -> str:
        return link_device(link, self._node)

    def _fail(self, name: str, why: str, now_s: float) -> None:
        if name not in self._failed:
            _log.warning("link=%s failed: %s", name, why)
        self._failed[name] = why, now_s + AGAIN_EVERY_S

    def close(self) -> None:
        """Let go of the kernel; what is there stays."""
        self._guard.close()
        self._devices.close()

    def clear(self) -> tuple[str, ...]:
        """Take all links away and let go of the kernel; gives what could not be taken away."""
        self.close()
        return clear_links(self._place.database if self._place is not None else None)[1]


def clear_links(database: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take away all links that there are, made by whichever run. Gives the devices that are gone, and problems.

    A device says which bridge it is a port of; ports without a device are looked for in `database` (None: there
    are none). The guard stays, as others may still send: it goes when the tunnels have gone.
    """
    gone: list[str] = []
    problems: list[str] = []
    kernel = LinkDevices()
    try:
        left = dict(kernel.found())
        for device, there in list(left.items()):
            try:
                if there.place is not None:
                    openvswitch.pull_out(there.place, device)
            except BridgeFailed as error:
                problems.append(f"{device}: {error}")
            del left[device]
            kernel.remove(there, left.values())
            gone.append(device)
    except LinkFailed as error:
        problems.append(str(error))
    finally:
        kernel.close()
    try:
        if database is not None:
            for device in openvswitch.left(database):
                openvswitch.pull_out(Place("", database), device)
                gone.append(device)
    except BridgeFailed as error:
        problems.append(f"ports of bridges: {error}")
    return tuple(gone), tuple(problems)


def _name(step: Step) -> str:
    match step:
        case Make(link) | PlugIn(link):
            return link.name
        case PullOut(_, name):
            return name
        case Remove(device):
            return device.name
