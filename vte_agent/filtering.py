"""Keeps the filters of a node as they are wanted, and counts for the report; for the thread of the hands."""

from __future__ import annotations

from vte_agent.nft import NftFailed
from vte_agent.protocol.filters import Filters, RuleCount
from vte_agent.segmentation import TABLE, compile_filters
from vte_agent.tables import KeptTable, Table

COUNT_EVERY_S = 5.0


class Filtering:
    """`want` makes it so; what cannot be is tried again, and the filters that held before hold on."""

    def __init__(self) -> None:
        self._table = Table(TABLE, counted=True)
        self._kept = KeptTable(self._table, self._body, "filters")
        self._rules: dict[str, tuple[str, bool]] = {}
        self._counted_s = float("-inf")
        self._counts: tuple[RuleCount, ...] = ()
        self._uncounted: tuple[str, ...] = ()
        self._are_wanted = self.holds = False
        """holds: whether packets may be carried; not where filters are wanted and none hold."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What stands in the way."""
        return (*self._kept.problems, *self._uncounted)

    def want(self, filters: Filters | None, now_s: float) -> None:
        """From now on these, asked each round; None: nothing is kept from anybody, and there is no table."""
        self._are_wanted = filters is not None
        self._kept.want(filters, now_s)
        self.holds = filters is None or self._kept.is_there

    def counts(self, now_s: float) -> tuple[RuleCount, ...]:
        """What each rule has decided on, as it was counted a moment ago."""
        if not self._are_wanted:
            return ()
        if now_s - self._counted_s >= COUNT_EVERY_S:
            self._counted_s, self._uncounted = now_s, ()
            try:
                self._counts = self._read()
            except NftFailed as error:
                self._uncounted = (f"filters are not counted: {error}",)
        return self._counts

    def close(self) -> None:
        """Let go of the kernel; what is there stays."""
        self._kept.close()

    def _read(self) -> tuple[RuleCount, ...]:
        counters = self._table.counters()
        found = sorted((self._rules[name], packets) for name, packets in counters.items() if name in self._rules)
        return tuple(RuleCount(rule=rule, allow=allow, packets=packets) for (rule, allow), packets in found)

    def _body(self, filters: Filters) -> str:
        ruleset = compile_filters(filters)
        self._rules.update(ruleset.counters)
        return ruleset.body
