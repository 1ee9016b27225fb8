"""The app that has queues made for what stitches were promised, and says which promises they enforce."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from ryu_apps.app import App, Tick, handles
from ryu_apps.events import (
    GuaranteesJudged,
    NetworkChanged,
    OvsdbChanged,
    QueuesChanged,
    StitchesChanged,
    WantQueues,
)
from stitching.enforced import Verdict
from stitching.enforcement import Choice
from stitching.guarantees import Plan, QueueId, plan, verdict
from stitching.network import Network, PortId
from stitching.queues import PortQueues
from stitching.stitch import Stitch

OWNER = "guarantees"

SETTLE_S = 0.25
"""Changes that come together are one change of the queues: each may be several runs of tc."""

ROUND_S = 1.0
"""The shortest time between two changes of the queues: promises that follow a forecast change all the time."""


class Guarantor(App):
    """Wants queues as soon as an OVSDB server is given; without one it does nothing."""

    _EVENTS: ClassVar[list[type]] = [WantQueues, GuaranteesJudged]

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._clock = clock
        self._network: Network | None = None
        self._stitches: tuple[Stitch, ...] | None = None
        self._servers: frozenset[str] = frozenset()
        self._enforced: Mapping[QueueId, Choice] = MappingProxyType({})
        self._plan = Plan()
        self._wanted: Mapping[PortId, PortQueues] | None = None
        self._verdicts: Mapping[int, Verdict] = MappingProxyType({})
        self._stale = False
        self._last_round_s = -math.inf

    def start(self) -> None:
        """Start handling events, and the timer."""
        super().start()
        self.every(SETTLE_S, "settle")

    @handles(NetworkChanged)
    def on_network(self, event: NetworkChanged) -> None:
        """Links may carry something else now."""
        self._network, self._stale = event.network, True

    @handles(StitchesChanged)
    def on_stitches(self, event: StitchesChanged) -> None:
        """Other promises, or other paths."""
        self._stitches, self._stale = event.stitches, True

    @handles(OvsdbChanged)
    def on_servers(self, event: OvsdbChanged) -> None:
        """Queues can be had from the first server on; with the last one gone there is nobody to take them away."""
        if event.servers != self._servers:
            self._servers, self._stale = event.servers, True

    @handles(QueuesChanged)
    def on_queues(self, event: QueuesChanged) -> None:
        """Switches do something else with them."""
        self._enforced = event.enforced
        self._judge()

    @handles(Tick)
    def on_tick(self, _tick: Tick) -> None:
        """Want what is to be now, once for all that happened since."""
        if self._network is None or self._stitches is None:
            return
        if self._stale:
            self._stale = False
            # Of all switches, whoever knows them: what is there from before a restart is as it shall be then.
            self._plan = plan(self._stitches, self._network) if self._servers else Plan()
            self._want()
            self._judge()
        elif self._want():
            self._judge()

    def _want(self) -> bool:
        """Say what is wanted if that is new, and the last time is long enough ago. Returns whether it was said."""
        # Also that none are wanted, the first time: there may be some from before a restart.
        if not self._servers or self._plan.ports == self._wanted:
            return False
        now_s = self._clock()
        if now_s - self._last_round_s < ROUND_S:
            return False
        self._last_round_s = now_s
        self._wanted = self._plan.ports
        self.publish(WantQueues(OWNER, self._plan.ports))
        return True

    def _judge(self) -> None:
        stitches = (self._stitches or ()) if self._servers else ()
        enforced = self._enforced_as_planned()
        verdicts = {stitch.id: verdict(stitch, self._plan, enforced) for stitch in stitches}
        if verdicts != self._verdicts:
            self._verdicts = MappingProxyType(verdicts)
            self.publish(GuaranteesJudged(self._verdicts))

    def _enforced_as_planned(self) -> Mapping[QueueId, Choice]:
        """What holds each queue, but for those that are to be other ones and have not been asked for yet."""
        if self._plan.ports == self._wanted:
            return self._enforced
        wanted = self._wanted or {}
        as_planned = {
            (port_id, queue.number)
            for port_id, planned in self._plan.ports.items()
            if port_id in wanted
            for queue in set(planned.queues) & set(wanted[port_id].queues)
        }
        return {queue_id: choice for queue_id, choice in self._enforced.items() if queue_id in as_planned}
