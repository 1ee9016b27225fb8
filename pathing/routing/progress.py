"""How far the search for a plan has come, for whoever waits for it."""

from __future__ import annotations

import math
from collections.abc import Callable

Tell = Callable[[float, float], None]


class Progress:
    """The least maximum met so far and the largest bound proven, told to the caller at every step.

    Volumes are scaled inside, so what comes in is multiplied by `scale` before it goes out.
    """

    def __init__(self, tell: Tell | None, scale: float = 1.0) -> None:
        self._tell, self._scale = tell, scale
        self._best, self._bound = math.inf, 0.0

    def step(self, best: float, bound: float = 0.0) -> None:
        """Take in what a step has reached and tell the best of all so far."""
        self._best = min(self._best, best)
        self._bound = min(max(self._bound, bound), self._best)
        if self._tell is not None and math.isfinite(self._best):
            self._tell(self._best * self._scale, self._bound * self._scale)
