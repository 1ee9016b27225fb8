"""Reads switches again, on demand and in turn, and puts right what was changed behind our back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ryu_apps import wire
from ryu_apps.events import Reconcile
from ryu_apps.installing.held import ANSWER_S, Asked, Held
from ryu_apps.installing.keeper import Keeper
from ryu_apps.installing.reading import Reading
from stitching.cookie import OWNER_MASK
from stitching.difference import Difference
from stitching.rules import Entry, FlowRule, StrayRule

READ_AGAIN_S = 10.0
"""How often one switch, in turn, is read again."""


def name(entry: Entry) -> str:
    """What kind of entry it is, in a few words."""
    if isinstance(entry, FlowRule | StrayRule):
        return f"a rule in table {entry.table}"
    return f"{entry.key[0]} {entry.key[1]}"


class Rereader:
    """Asks switches again what they hold, one at a time where nobody asks for it."""

    def __init__(
        self, keeper: Keeper, xids: Iterator[int], clock: Callable[[], float], gone: Sequence[int] = ()
    ) -> None:
        """`gone`: the owners, in cookies, of hosted apps that do not run."""
        self._keeper = keeper
        self._xids = xids
        self._clock = clock
        self._gone = gone
        self._last_s = clock()

    def ask(self, request: Reconcile) -> None:
        """Somebody wants a switch read and put right."""
        switch = self._keeper.switches.get(request.dpid)
        asked = Asked(request, self._clock() + ANSWER_S)
        if switch is None:
            asked.fail("it is not connected")
        elif not self._keeper.is_governed(switch):
            asked.fail("what it should have is not known yet")
        else:
            switch.asked.append(asked)
            self.read(switch)

    def read(self, switch: Held) -> None:
        """Ask a switch what it has, unless something is on its way to it or being read."""
        if switch.reading is not None or not switch.outbox.is_quiet or self._keeper.batches.busy(switch.dpid):
            return
        # Those whose reading came to nothing are answered by this one.
        switch.answering += switch.asked
        switch.asked = []
        for asked in switch.answering:
            asked.waits_for = "it has not said what it holds"
        switch.touched.clear()
        self.begin(switch)

    def begin(self, switch: Held) -> None:
        """Ask a switch all that is to be known of it."""
        switch.reading = Reading.of(self._xids, self._clock(), self._gone)
        switch.datapath.send(switch.reading.requests())

    def on_read(self, switch: Held, reading: Reading) -> None:
        """A switch has said again what it holds: put it right, unless all who asked only want to know."""
        if self._remove(switch, reading.abandoned):
            return
        difference = self._keeper.difference(switch)
        answering = switch.reported(reading, difference)
        if difference:
            self._keeper.log_difference(switch.dpid, len(switch.has) - len(difference.wrong), difference)
        if answering and all(asked.request.dry_run for asked in answering):
            switch.owed |= {entry.key for entry in (*difference.missing, *difference.wrong, *difference.excess)}
        else:
            self._keeper.put(switch, difference.changes(switch.dpid))
        for asked in answering:
            if asked.request.dry_run:
                asked.answer()
            else:
                asked.waits_for = "it has not confirmed what was put right"
                switch.answering.append(asked)
                switch.outbox.wait(asked)
                self._keeper.unsent[switch] = None

    def _remove(self, switch: Held, abandoned: Mapping[int, int]) -> bool:
        """Take out what hosted apps left that are gone, if somebody asks for it: then it is read once more."""
        asking = [asked for asked in switch.answering if asked.removes]
        if not (asking and abandoned):
            return False
        for owner in abandoned:
            switch.datapath.send(wire.removal_of_all(owner << 56, OWNER_MASK, next(self._xids)))
        switch.datapath.send(wire.barrier(next(self._xids)))
        for asked in asking:
            asked.removed = abandoned
        switch.asked = switch.answering + switch.asked
        switch.answering = []
        self.read(switch)
        return True

    def answer(self, switch: Held, asked: Asked) -> None:
        """What was put right for this answer is confirmed, or refused."""
        if asked in switch.answering:
            switch.answering.remove(asked)
        entries = asked.report.difference if asked.report is not None else Difference()
        # What was only found in a dry run before is owed as well, but it has been put right since.
        left = self._keeper.difference(switch, switch.owed)
        stay = {entry.key for entry in (*left.missing, *left.wrong)}
        owed = [entry for entry in (*entries.missing, *entries.wrong) if entry.key in stay]
        asked.answer(tuple(_named(entry, switch.why.get(entry.key, "")) for entry in owed))

    def read_in_turn(self, now_s: float) -> None:
        """Read one switch again every READ_AGAIN_S: the one that was read longest ago."""
        if now_s - self._last_s < READ_AGAIN_S:
            return
        self._last_s = now_s
        switch = next((one for one in self._keeper.switches.values() if one.ready), None)
        if switch is not None:
            # To the end of the line.
            self._keeper.switches[switch.dpid] = self._keeper.switches.pop(switch.dpid)
            self.read(switch)


def _named(entry: Entry, why: str) -> str:
    """An entry that is not as it shall be, and what the switch said against it."""
    return f"{name(entry)}: {why}" if why else name(entry)
