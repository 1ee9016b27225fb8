"""Takes away what an agent has left on its node: tunnels, routes, rules and marks. For when none runs."""

from __future__ import annotations

from collections.abc import Mapping

from vte_agent.class_marks import ClassMarks, MarkingFailed
from vte_agent.protocol.wanted import Transport
from vte_agent.routing import Router
from vte_agent.tunnels.contract import TunnelFailed, Tunnels


def clean(transports: Mapping[Transport, Tunnels]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take all of it away; gives the devices that are gone, and what could not be taken away."""
    gone: list[str] = []
    problems: list[str] = []
    # Routes first: what is sent meanwhile is refused, and not lost in a tunnel that is half gone.
    with Router() as router:
        problems += router.clear()
    for tunnels in transports.values():
        for device in sorted(tunnels.found()):
            try:
                tunnels.delete(device)
                gone.append(device)
            except TunnelFailed as error:
                problems.append(f"{device}: {error}")
        tunnels.close()
    marks = ClassMarks()
    if not marks.missing():
        try:
            marks.clear()
        except MarkingFailed as error:
            problems.append(str(error))
    return tuple(gone), tuple(problems)
