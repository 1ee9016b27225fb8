"""Overlays to test decisions with: sites, and agents that carry plans out at once."""

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network

from stitching.overlay.replacing import EndReport, SiteReport
from stitching.overlay.sites import Role, Site, Uplink
from stitching.overlay.tunnels import Line, Phase, Tunnel, TunnelBook


def a_site(
    serial: int, *, n_uplinks: int = 1, critical: bool = False, relay: bool = False, **more: object
) -> Site:
    """Site s<serial> with a /24 of 10.0.0.0/8 behind it; a relay is called r<serial> and has nothing behind it."""
    uplinks = tuple(
        Uplink(f"wan{place}", IPv4Address(0xC6120000 + 4 * serial + place), 100.0) for place in range(n_uplinks)
    )
    fields: dict[str, object] = {
        "serial": serial,
        "name": f"r{serial}" if relay else f"s{serial}",
        "role": Role.RELAY if relay else Role.SITE,
        "prefixes": () if relay else (IPv4Network((0x0A000000 + (serial << 8), 24)),),
        "critical": critical,
        "uplinks": uplinks,
    }
    return Site(**{**fields, **more})  # type: ignore[arg-type]


def world(
    n_sites: int, n_relays: int = 2, *, n_uplinks: int = 1, critical: Collection[int] = ()
) -> dict[int, Site]:
    """Relays 1, 2, ... and then sites."""
    relays = [a_site(serial, relay=True) for serial in range(1, n_relays + 1)]
    sites = [
        a_site(serial, n_uplinks=n_uplinks, critical=serial in critical)
        for serial in range(n_relays + 1, n_relays + n_sites + 1)
    ]
    return {site.serial: site for site in (*relays, *sites)}


def reports_of(
    tunnels: Iterable[Tunnel], generation: int, *, down: Collection[str] = (), used: Collection[str] = ()
) -> Mapping[int, SiteReport]:
    """What sites say that have these tunnels."""
    ends: dict[int, dict[str, EndReport]] = {}
    for tunnel in tunnels:
        for serial in tunnel.line.pair:
            state = "down" if tunnel.name in down else "up"
            ends.setdefault(serial, {})[tunnel.name] = EndReport(state, tunnel.name in used)
    return {serial: SiteReport(generation, named) for serial, named in ends.items()}


def up_lines(book: TunnelBook) -> tuple[Line, ...]:
    """Lines with a tunnel that carries."""
    return tuple(line for line, state in book.lines.items() if state.of(Phase.ACTIVE) is not None)
