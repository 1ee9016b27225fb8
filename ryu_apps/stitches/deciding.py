"""Does what the trigger decides: stitch before the traffic arrives, let go when it has passed."""

from __future__ import annotations

from dataclasses import replace
from logging import Logger

from ryu_apps.events import Outlook
from ryu_apps.stitches.life import CARRYING_ON, REFUSALS, Life
from ryu_apps.stitches.moving import Mover
from stitching.decisions import ORIGIN, Decision, Establish, Prospect, Release, Reroute, Resize
from stitching.network import LinkKey
from stitching.plan import NotPossible
from stitching.routes import CARRYING, default_routes
from stitching.stitch import DEADLINES_S, Placement, Stitch, StitchPath, VmRequest
from stitching.trigger import Trigger


class Decider:
    """Asks the trigger what is to be done about what is expected."""

    def __init__(self, life: Life, mover: Mover, trigger: Trigger | None, log: Logger) -> None:
        self._life = life
        self._mover = mover
        self._trigger = trigger
        self._log = log

    def expect(self, outlook: Outlook, active: tuple[Stitch, ...]) -> None:
        """Act on what is expected; active are the stitches there are."""
        planner = self._life.planner
        carrying = frozenset((s.id, s.epoch) for s in active if s.state in CARRYING)
        # A forecast made before its own last change took effect would have it made twice.
        settled = not any(s.state in DEADLINES_S for s in active if s.request.origin == ORIGIN)
        if self._trigger is None or not settled or outlook.stitches != carrying:
            return
        prospect = Prospect(
            links=outlook.link_keys,
            link_forecast=outlook.links,
            pairs=outlook.pairs,
            demand_forecast=outlook.demands,
            routes=default_routes(planner.network, planner.directory, planner.ruling),
            stitches=active,
            situation=planner.situation,
        )
        for decision in self._trigger.decide(self._life.monotonic(), prospect):
            self._log.info("decision=%s", decision)
            try:
                self._carry_out(decision)
            except REFUSALS as error:
                self._log.warning("not_carried_out=%s error=%s", decision, error)

    def _carry_out(self, decision: Decision) -> None:
        life = self._life
        match decision:
            case Establish(request, path):
                self._check_allowed(request, path)
                (stitch,) = life.book.new([request], life.clock())
                (begun,) = life.begin([life.admit(stitch, path)])
                if isinstance(begun, Exception):
                    raise begun
            case Reroute(stitch_id, bandwidth_mbps, path, relieves):
                self._check_allowed(life.book[stitch_id].vm_request, path)
                self.reroute(life.book[stitch_id], path, bandwidth_mbps, relieves)
            case Resize(stitch_id, bandwidth_mbps):
                self._mover.resize(life.book[stitch_id], bandwidth_mbps)
            case Release(stitch_id):
                life.terminate(life.book[stitch_id], "no longer needed")

    def _check_allowed(self, request: VmRequest, path: StitchPath) -> None:
        """The trigger looks at loads alone."""
        reason = self._life.planner.ruling.forbids(request, path, self._life.planner.network)
        if reason is not None:
            raise NotPossible("destination", reason, "change what the policy demands")

    def reroute(self, stitch: Stitch, path: Placement, bandwidth_mbps: float, relieves: LinkKey | None) -> None:
        """Move a stitch to another path, where it carries."""
        if stitch.state in CARRYING_ON:
            request = replace(stitch.vm_request, bandwidth_mbps=bandwidth_mbps, relieves=relieves)
            self._mover.move(stitch, request, path, None)
