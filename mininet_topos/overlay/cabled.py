"""An internet of cables: nothing but the kernel between the places, for measuring what everything else costs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from mininet_topos.handles import LabError, LinkHandle
from mininet_topos.overlay.underlay import Line, Underlay
from mininet_topos.ovs import OvsError, run


class Cabled(Underlay):
    """An underlay without rates, delays and losses; its lines can be neither cut nor changed."""

    def _lay(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._cleanup.callback(_remove, line.near)
            try:
                run(["ip", "link", "add", line.near, "type", "veth", "peer", "name", line.far])
            except OvsError as error:
                raise LabError(f"no cable for {line.place.name}: {error}") from error

    def link(self, place: str, uplink: str) -> LinkHandle:
        """Raise LabError: nobody carries its frames."""
        raise LabError(f"{uplink} of {place} is a cable, which has no figures to be changed")


def _remove(device: str) -> None:
    # In its place by now, and gone with it; unless that failed.
    with contextlib.suppress(OvsError):
        run(["ip", "link", "del", device])
