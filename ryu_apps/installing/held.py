"""What is known of one connected switch, and who wants to know whether it has what it should have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ryu_apps.events import NotReconciled, Reconcile, Reconciled
from ryu_apps.installing.outbox import Outbox
from ryu_apps.installing.reading import Reading
from stitching.difference import Difference
from stitching.rules import Entry, EntryKey

ANSWER_S = 20.0
"""How long a reconciliation that was asked for may take, waiting for changes in progress included."""


@dataclass(eq=False)
class Asked:
    """A question whether a switch has what it should have; waits_for says what keeps its answer.

    removed are the rules of hosted apps that do not run which were there before it had them taken out, by owner.
    """

    request: Reconcile
    give_up_s: float
    waits_for: str = "changes in progress on it have not ended"
    report: Reconciled | None = None
    removed: Mapping[int, int] | None = None

    @property
    def removes(self) -> bool:
        """Whether it has yet to take out what hosted apps left that do not run."""
        return self.request.remove_guests and not self.request.dry_run and self.removed is None

    def fail(self, reason: str) -> None:
        """There will be no answer."""
        if not self.request.future.done():
            self.request.future.set_exception(NotReconciled(f"switch {self.request.dpid:016x}: {reason}"))

    def answer(self, refused: tuple[str, ...] = ()) -> None:
        """The report is complete."""
        if self.report is not None and not self.request.future.done():
            self.request.future.set_result(replace(self.report, refused=refused))


@dataclass(eq=False)
class Held:
    """One switch: what it has, what is on its way to it, and what it was asked.

    owed are the entries that may be other than they should be: it refused them, or they were found so when nothing
    was to be sent. why is what it said against those that it refused. touched are those that were changed since
    it was asked what it has. abandoned: by the owner in their cookies, rules of hosted apps that do not run.
    """

    dpid: int
    datapath: Any
    outbox: Outbox
    reading: Reading | None
    has: dict[EntryKey, Entry] = field(default_factory=dict)
    read: bool = False
    compared: bool = False
    ready: bool = False
    refused_s: float | None = None
    owed: set[EntryKey] = field(default_factory=set)
    why: dict[EntryKey, str] = field(default_factory=dict)
    touched: set[EntryKey] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    answering: list[Asked] = field(default_factory=list)
    stuck: tuple[int | None, float] = (None, 0.0)
    abandoned: Mapping[int, int] = field(default_factory=dict)

    def take(self, reading: Reading) -> None:
        """It has what was read, apart from what was changed meanwhile."""
        entries = reading.entries
        for key in self.touched:
            entry = self.has.get(key)
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry
        self.has, self.reading, self.read = entries, None, True
        self.abandoned = reading.abandoned
        self.touched.clear()

    def reported(self, reading: Reading, difference: Difference) -> list[Asked]:
        """Those who asked for it, with their reports."""
        answering, self.answering = self.answering, []
        right = len(self.has) - len(difference.wrong) - len(difference.excess)
        for asked in answering:
            asked.report = Reconciled(
                self.dpid,
                asked.request.dry_run,
                difference,
                right,
                reading.others_rules,
                reading.others_groups,
                reading.others_meters,
                abandoned=reading.abandoned,
                removed=_less(asked.removed or {}, reading.abandoned),
            )
        return answering

    def fail_all(self, reason: str) -> None:
        """Nobody gets an answer: it is gone."""
        for asked in (*self.asked, *self.answering):
            asked.fail(reason)

    def fail_late(self, now_s: float) -> None:
        """Give up those who have waited too long."""
        for waiting in (self.asked, self.answering):
            for asked in [one for one in waiting if now_s > one.give_up_s]:
                waiting.remove(asked)
                asked.fail(f"{asked.waits_for} within {ANSWER_S:g} s")


def _less(before: Mapping[int, int], after: Mapping[int, int]) -> dict[int, int]:
    """How many are gone of each."""
    return {owner: count - after.get(owner, 0) for owner, count in before.items()}
