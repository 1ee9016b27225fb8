"""Takes away what an agent has made on its node: links, tunnels, routes, rules and tables of nftables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vte_agent import nft
from vte_agent.bridging import guard
from vte_agent.bridging.guard import NotGuarded
from vte_agent.bridging.keeper import clear_links
from vte_agent.class_marks import ClassMarks, MarkingFailed
from vte_agent.filtering import Filtering
from vte_agent.mss_clamp import MssClamp, NotClamped
from vte_agent.protocol.wanted import Transport
from vte_agent.routing import Router
from vte_agent.segmentation import NotFiltered
from vte_agent.tunnels.contract import TunnelFailed, Tunnels


def clean(transports: Mapping[Transport, Tunnels]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take all of it away that an earlier run left. Nobody else may be at work on it.

    Gives the devices that are gone, and what could not be taken away.
    """
    links, problems = clear_links()
    tunnels, more = take_down(transports)
    # Routes after tunnels: without them what a tunnel brings could leave in the clear.
    with Router() as router:
        left = router.clear()
    tables = clear_tables((ClassMarks().clear, Filtering().clear, MssClamp().clear, guard.clear))
    return (*links, *tunnels), (*problems, *more, *left, *tables)


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


def clear_tables(tables: Sequence[Callable[[], None]]) -> tuple[str, ...]:
    """Take tables of nft away, by what does it for each; gives what could not be."""
    problems: list[str] = []
    # Without nft there is no table of ours either.
    for clear in () if nft.missing() else tables:
        try:
            clear()
        except (MarkingFailed, NotFiltered, NotClamped, NotGuarded) as error:
            problems.append(str(error))
    return tuple(problems)
