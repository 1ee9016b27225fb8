"""An overlay as the app tells of it: two sites and a relay that carry out what a round has decided."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from ryu_apps.events.overlay import OverlayAnswer
from ryu_apps.overlay.reports import Reports
from ryu_apps.overlay.signing.requests import ControllerCard
from stitching.overlay.rounds import Facts, Overlay, OverlayPolicy, next_round
from tests.unit.overlay_world import world
from vte_agent.protocol.has import Has, HostReport, Quality, RouteReport, TunnelReport, TunnelState, Uplink
from vte_agent.protocol.transport import Transport

NOW_S = 1_790_000_000.0
CARD = ControllerCard(state_key="A" * 43 + "=", authority_sha256="ab" * 32, addresses=("192.0.2.1:6690",))


def an_overlay(**changes: Any) -> OverlayAnswer:
    """Sites s2 and s3, relay r1; s3 is away, and one of its ends is down."""
    sites = world(2, 1)
    reports, overlay = Reports(), Overlay()
    for place in range(6):
        ends = {tunnel.name: tunnel.line.pair for tunnel in overlay.book.tunnels()}
        facts = Facts(sites, reports.reports, reports.measured(ends))
        now_s = NOW_S + place
        overlay = next_round(overlay, facts, OverlayPolicy(), now_s).overlay
        for serial, plan in overlay.plans.items():
            reports.has(serial, _has(serial, overlay.generation, [end.name for end in plan.tunnels]), now_s)
    mine = next(name for name in overlay.plans[3].tunnels).name
    worse = tuple(
        one.model_copy(update={"state": TunnelState.DOWN, "why": "nothing comes back"})
        if one.name == mine
        else one
        for one in reports.said[3].tunnels
    )
    reports.said[3] = reports.said[3].model_copy(update={"tunnels": worse, "problems": ("the disk is full",)})
    given: dict[str, Any] = {
        "epoch": 4,
        "sites": sites,
        "connected": frozenset({1, 2}),
        "revoked": frozenset({9}),
        "said": dict(reports.said),
        "told": {1: 7, 2: 8},
        "tunnels": overlay.book.tunnels(),
        "why": overlay.mesh.why,
        "choices": overlay.choices,
        "problems": (),
        "card": CARD,
        "port": 6690,
    }
    return OverlayAnswer(**{**given, **changes})


def _has(serial: int, generation: int, tunnels: list[str]) -> Has:
    behind = ip_network(f"10.0.{5 - serial}.0/24")
    routes = [RouteReport(prefixes=(behind,), tunnel=tunnels[0], why="up")] if serial > 1 else []
    return Has(
        generation=generation,
        transports=(Transport.WIREGUARD,),
        uplinks=(Uplink(name="wan0", address=ip_address(f"198.18.0.{4 * serial}")),),
        tunnels=tuple(
            TunnelReport(
                name=name,
                state=TunnelState.UP,
                port=40_000,
                mtu=1440,
                handshake_age_s=3.0,
                quality=Quality(
                    rtt_ms=8.0, jitter_ms=0.5, jitter_out_ms=0.4, jitter_in_ms=0.2, loss_out=0.01, loss_in=0.0
                ),
            )
            for name in tunnels
        ),
        routes=tuple(routes),
        host=HostReport(cpu=0.25, memory=0.5, memory_mb=512.0),
    )
