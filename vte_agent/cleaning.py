"""Takes away what an agent has made on its node: routes, rules, tunnels and tables of nftables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vte_agent import nft
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
    # Routes first: what is sent meanwhile is refused, and not lost in a tunnel that is half gone.
    with Router() as router:
        problems = router.clear()
    gone, more = take_down(transports, (ClassMarks().clear, Filtering().clear, MssClamp().clear))
    return gone, (*problems, *more)


def take_down(
    transports: Mapping[Transport, Tunnels], tables: Sequence[Callable[[], None]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same for all but the routes; tables are what takes a table of nft away. Transports are closed."""
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
    # Without nft there is no table of ours either.
    for clear in () if nft.missing() else tables:
        try:
            clear()
        except (MarkingFailed, NotFiltered, NotClamped) as error:
            problems.append(str(error))
    return tuple(gone), tuple(problems)
