"""What tests of steered sites wait for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mininet_topos.overlay.flow import Receiver
from tests.system.vte.two_sites import Site, TwoSites, two_sites
from tests.system.waiting import wait_until


def taken(site: Site) -> str | None:
    """Which tunnel the site's route to the other takes."""
    for route in site.ask("report")["routes"]:
        return None if route["tunnel"] is None else str(route["tunnel"])
    return None


def both_alive(site: Site) -> bool:
    tunnels = site.ask("report")["tunnels"]
    alive = [t["alive"]["heard"] == t["alive"]["hears"] == "alive" for t in tunnels.values()]
    return bool(alive) and all(alive)


def settled(world: TwoSites) -> None:
    """All tunnels are well, and both sites have a way."""
    for site in (world.a, world.b):
        wait_until(lambda site=site: both_alive(site) and taken(site), 10, lambda site=site: site.ask("report"))  # type: ignore[misc]


def flows(receiver: Receiver) -> None:
    """Packets come, now."""
    receiver.forget()
    wait_until(lambda: len(receiver.read()) > 40, 10, "no packet comes")
    receiver.forget()


@contextmanager
def running(**wanted: Any) -> Iterator[TwoSites]:
    with two_sites() as world:
        world.start(**wanted)
        settled(world)
        yield world
