"""Takes away what an agent has made on its node: links, tunnels, routes, rules and tables of nftables."""

from __future__ import annotations

from collections.abc import Mapping

from vte_agent import class_marks, mss_clamp, nft, segmentation
from vte_agent.bridging import guard
from vte_agent.bridging.keeper import clear_links
from vte_agent.nft import NftFailed
from vte_agent.protocol.transport import Transport
from vte_agent.routing import Router
from vte_agent.tables import Table
from vte_agent.tunnels.contract import TunnelFailed, Tunnels

TABLES = (class_marks.TABLE, segmentation.TABLE, mss_clamp.TABLE, guard.TABLE)
"""The last one keeps links inside the tunnels: it goes last, when nothing comes by them any more."""


def clean(transports: Mapping[Transport, Tunnels], database: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take all of it away that an earlier run left. Nobody else may be at work on it.

    database: where ports are looked for whose devices are gone. Gives the devices that are gone, and what could
    not be taken away.
    """
    links, problems = clear_links(database)
    for one in transports.values():
        one.keep_only(())
    tunnels, more = take_down(transports)
    # Routes after tunnels: without them what a tunnel brings could leave in the clear.
    with Router() as router:
        left = router.clear()
    return (*links, *tunnels), (*problems, *more, *left, *clear_tables())


def take_down(transports: Mapping[Transport, Tunnels]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same for tunnels alone; transports are closed."""
    gone: list[str] = []
    problems: list[str] = []
    for tunnels in transports.values():
        for device in sorted(tunnels.found()):
            try:
                tunnels.delete(device)
                gone.append(device)
            except TunnelFailed as error:
                problems.append(f"{device}: {error}")
        tunnels.close()
    return tuple(gone), tuple(problems)


def clear_tables() -> tuple[str, ...]:
    """Take our tables of nftables away; gives what could not be."""
    problems: list[str] = []
    # Without nft there is no table of ours either.
    for name in () if nft.missing() else TABLES:
        try:
            Table(name).clear()
        except NftFailed as error:
            problems.append(f"table {name}: {error}")
    return tuple(problems)
