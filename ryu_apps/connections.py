"""The connections of the switches: of each switch the newest counts, whatever an older one still says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from os_ken.controller.handler import MAIN_DISPATCHER


class Connections(Mapping[int, Any]):
    """The newest connection of every switch that is there, by dpid."""

    def __init__(self) -> None:
        self._by_dpid: dict[int, Any] = {}

    def follow(self, event: Any) -> bool:
        """Take in a change of state; False where it says nothing new: an older connection of a switch ended."""
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            self._by_dpid[datapath.id] = datapath
            return True
        if not self.is_current(datapath):
            return False
        del self._by_dpid[datapath.id]
        return True

    def is_current(self, datapath: Any) -> bool:
        """Whether a switch is reached by this connection now."""
        return self._by_dpid.get(datapath.id) is datapath

    def __getitem__(self, dpid: int) -> Any:
        return self._by_dpid[dpid]

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_dpid)

    def __len__(self) -> int:
        return len(self._by_dpid)
