"""What every connected switch has, what it should have, and the steps in between.

What an owner changes costs by what it changes, however much there is on the switch: the whole of it is compared
only when it is read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from ryu_apps import wire
from ryu_apps.installing.batches import Batch, InProgress
from ryu_apps.installing.held import Held
from ryu_apps.installing.outbox import Queued, Step
from ryu_apps.installing.wants import Wants, watches_alive
from stitching.difference import Change, Difference, diff
from stitching.rules import EntryKey, FlowRule, RuleSet

FORWARDING = "forwarding"
"""The owner of the default rules. Until it has spoken for a switch, nothing on that switch is touched."""


class Keeper:
    """Keeps what is known of the switches in step with the steps that are queued for them.

    unsent are the switches for which something is queued; added, removed and kept are counts since the start.
    """

    def __init__(self, log: logging.Logger) -> None:
        self.switches: dict[int, Held] = {}
        self.wants = Wants()
        self.batches = InProgress()
        self.unsent: dict[Held, None] = {}
        self.added = self.removed = self.kept = 0
        self._log = log

    def is_governed(self, switch: Held) -> bool:
        """Whether it is known what a switch has and what it should have."""
        return switch.read and self.wants.has_spoken(FORWARDING, switch.dpid)

    def bring(self, dpid: int, keys: Iterable[EntryKey]) -> None:
        """Bring these entries of a switch to what is wanted; all of them where it was never done."""
        switch = self.switches.get(dpid)
        if switch is None or not self.is_governed(switch):
            return
        if not switch.compared:
            self.reconcile(switch)
        else:
            self.put(switch, self.difference(switch, keys).changes(dpid))

    def difference(self, switch: Held, keys: Iterable[EntryKey] | None = None) -> Difference:
        """What separates a switch from all that is wanted of it, leaving out entries that are being changed.

        keys are the only ones to look at; all, without.
        """
        if not self.is_governed(switch):
            return Difference()
        has, wants = switch.has, self.wants.on(switch.dpid)
        busy = self.batches.busy(switch.dpid)
        if keys is None:
            if not busy:
                # Nothing there: that need not be looked up for every entry.
                return diff(has, wants) if has else Difference(tuple(wants.values()))
            keys = {**has, **wants}
        here = [key for key in keys if key not in busy] if busy else keys
        return _compare(has, wants, here)

    def reconcile(self, switch: Held) -> None:
        """Compare all of a switch with what is wanted, and send the difference."""
        if not self.is_governed(switch):
            return
        difference = self.difference(switch)
        switch.refused_s = None
        switch.owed.clear()
        switch.why.clear()
        if not switch.compared:
            kept = len(switch.has) - len(difference.wrong) - len(difference.excess)
            self.kept += kept
            self.log_difference(switch.dpid, kept, difference)
        if switch.has or self.batches.busy(switch.dpid):
            self.put(switch, difference.changes(switch.dpid))
        else:
            self._put_all(switch, self.wants.on(switch.dpid))
        if not switch.compared:
            switch.compared = True
            switch.outbox.wait(None)
            self.unsent[switch] = None

    def log_difference(self, dpid: int, kept: int, difference: Difference) -> None:
        """Say what was found on a switch."""
        self._log.info(
            "switch=%016x reconciled kept=%d missing=%d wrong=%d excess=%d",
            dpid,
            kept,
            len(difference.missing),
            len(difference.wrong),
            len(difference.excess),
        )

    def log_abandoned(self, dpid: int, abandoned: Mapping[int, int]) -> None:
        """Say what hosted apps that do not run have on a switch, by the owner in the cookies."""
        owners = ",".join(f"{owner:#x}:{count}" for owner, count in sorted(abandoned.items()))
        self._log.info("switch=%016x rules_of_apps_that_do_not_run=%s", dpid, owners or "none")

    def put(self, switch: Held, changes: Sequence[Change], batch: Batch | None = None) -> list[Change]:
        """Queue the changes that change anything; returns what undoes those of a batch."""
        undo: list[Change] = []
        queue: list[Queued] = []
        has, dpid = switch.has, switch.dpid
        for change in changes:
            entry, remove = change.entry, change.remove
            key = entry.key
            before = has.get(key)
            if remove:
                if before is None or self._is_claimed(dpid, key, batch):
                    continue
                del has[key]
                self.removed += 1
            else:
                if before == entry:
                    continue
                if watches_alive(entry) and wire.ALIVE.key not in has:
                    queue.append((wire.ALIVE.key, wire.ALIVE, False, None, batch))
                    has[wire.ALIVE.key] = wire.ALIVE
                has[key] = entry
                self.added += 1
            queue.append((key, entry, remove, before, batch))
            if batch is not None:
                undo.append(Change(dpid, entry, remove=True) if before is None else Change(dpid, before))
        if queue:
            if switch.reading is not None:
                switch.touched.update(queued[0] for queued in queue)
            switch.outbox.put(queue)
            self.unsent[switch] = None
        return undo

    def _put_all(self, switch: Held, wants: RuleSet) -> None:
        """Queue all that is wanted of a switch that has nothing: without a look at each."""
        switch.has = dict(wants)
        if switch.reading is not None:
            switch.touched.update(wants)
        rules = [item for item in wants.items() if isinstance(item[1], FlowRule)]
        others = [item for item in wants.items() if not isinstance(item[1], FlowRule)]
        others.sort(key=lambda item: item[1] != wire.ALIVE)
        switch.outbox.put((key, entry, False, None, None) for key, entry in (*others, *rules))
        self.added += len(wants)
        self.unsent[switch] = None

    def _is_claimed(self, dpid: int, key: EntryKey, batch: Batch | None) -> bool:
        """Whether anybody but the owner of this change wants an entry, or is putting it there."""
        owner = batch.owner if batch is not None else None
        return self.wants.by_another(owner, dpid, key) or self.batches.puts(dpid, key, batch)

    def take_back(self, switch: Held, step: Step) -> None:
        """A step was not carried out: what was there before it still is, or is what the next step meets."""
        if switch.outbox.hand_on(step):
            return
        if step.before is None:
            switch.has.pop(step.key, None)
        else:
            switch.has[step.key] = step.before


def _compare(has: RuleSet, wants: RuleSet, keys: Iterable[EntryKey]) -> Difference:
    missing, wrong, excess = [], [], []
    for key in keys:
        there, wanted = has.get(key), wants.get(key)
        if wanted is None:
            if there is not None:
                excess.append(there)
        elif there is None:
            missing.append(wanted)
        elif there != wanted:
            wrong.append(wanted)
    return Difference(tuple(missing), tuple(wrong), tuple(excess))
