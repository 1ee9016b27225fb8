"""When to stitch and when to let go, decided on forecasts, with hysteresis so that nothing flaps."""

from __future__ import annotations

from dataclasses import dataclass, field

from stitching.decisions import (
    Decision,
    Prospect,
    Release,
    TriggerPolicy,
)
from stitching.relief import Round


@dataclass
class Trigger:
    """Remembers since when each stitch could be let go; everything else comes in with each call."""

    policy: TriggerPolicy
    _calm_since_s: dict[int, float] = field(default_factory=dict)

    def decide(self, now_s: float, prospect: Prospect) -> list[Decision]:
        """What to do now."""
        plan = Round(self.policy, prospect)
        decisions: list[Decision] = [*plan.resize(), *plan.relieve()]
        decisions.extend(self._release(now_s, plan))
        return decisions

    def _release(self, now_s: float, plan: Round) -> list[Decision]:
        released: list[Decision] = []
        mine = [s for s in plan.mine.values() if s.id not in plan.rerouted]
        self._calm_since_s = {s.id: self._calm_since_s.get(s.id, now_s) for s in mine if plan.fits_back(s)}
        for stitch in sorted(mine, key=lambda s: self._calm_since_s.get(s.id, now_s)):
            # One that went back may have taken the room of the next: it is asked again.
            since_s = self._calm_since_s.get(stitch.id, now_s)
            if now_s - since_s >= self.policy.hold_s and plan.fits_back(stitch):
                plan.move_back(stitch)
                self._calm_since_s.pop(stitch.id, None)
                released.append(Release(stitch.id))
        return released
