"""Keeps the filters of a node as they are wanted, and counts for the report; for the thread of the hands."""

from __future__ import annotations

from vte_agent.protocol.filters import Filters, RuleCount
from vte_agent.segmentation import NotFiltered, Segmentation

COUNT_EVERY_S, AGAIN_EVERY_S = 5.0, 5.0


class Filtering:
    """`want` makes it so; what cannot be is tried again, and the filters that held before hold on."""

    def __init__(self, segmentation: Segmentation | None = None) -> None:
        self._segmentation = segmentation or Segmentation()
        self._applied: Filters | None = None
        self._is_cleared = False
        self._tried: Filters | None = None
        self._again_s = self._counted_s = float("-inf")
        self._counts: tuple[RuleCount, ...] = ()
        self.problems: tuple[str, ...] = ()
        self.holds = True
        """Whether packets may be carried: False where filters are wanted and none hold."""

    def want(self, filters: Filters | None, now_s: float) -> None:
        """From now on these; None: nothing is kept from anybody, and there is no table."""
        if filters == self._applied and (filters is not None or self._is_cleared):
            self.problems, self.holds = (), True
            return
        if filters == self._tried and now_s < self._again_s:
            return
        self._tried, self._again_s = filters, now_s + AGAIN_EVERY_S
        try:
            if filters is not None:
                self._segmentation.apply(filters)
            elif self._applied is not None or not self._segmentation.missing():
                self._segmentation.remove()
        except NotFiltered as error:
            self.problems = (f"filters: {error}",)
            self.holds = filters is None or self._applied is not None
            return
        self._applied, self._is_cleared = filters, filters is None
        self.problems, self.holds = (), True
        self._counted_s = float("-inf")

    def counts(self, now_s: float) -> tuple[RuleCount, ...]:
        """What each rule has decided on, as it was counted a moment ago."""
        if self._applied is None:
            return ()
        if now_s - self._counted_s >= COUNT_EVERY_S:
            self._counted_s = now_s
            try:
                self._counts = self._segmentation.counts()
            except NotFiltered as error:
                self.problems = (f"filters are not counted: {error}",)
        return self._counts

    def clear(self) -> None:
        """Take the table away. Raises NotFiltered."""
        self._segmentation.remove()
