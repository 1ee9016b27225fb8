"""What is on its way to one switch: steps are written together, fenced by a barrier, and known until confirmed.

Many steps go as one bundle where the switch speaks them (`ryu_apps/wire/bundles.py`): they are added first, and
committed when the switch has read them all without a complaint. A switch that does not know bundles says so the
first time and gets barriers from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ryu_apps import wire
from ryu_apps.installing.batches import Batch
from stitching.rules import Entry, EntryKey, Meter

BUNDLE_FROM = 64
"""From so many steps on a bundle is worth its two round trips."""

_WRITE = 500
"""So many messages are written at once: a switch begins on the first ones while the others are encoded."""


Queued = tuple[EntryKey, Entry, bool, Entry | None, Batch | None]
"""A step not written yet: key, entry, whether it is removed, what is there before, and whose change it is."""


@dataclass(slots=True, eq=False)
class Step:
    """A step that was written: what was there before, whose change it is, and what the switch refused it for."""

    xid: int
    key: EntryKey
    entry: Entry
    remove: bool
    before: Entry | None
    batch: Batch | None = None
    bundle: Bundle | None = None
    refused: str | None = None


@dataclass(slots=True, eq=False)
class Fence:
    """A barrier on its way: what it confirms, who waits for that, and the bundle it fences."""

    steps: list[Step]
    waiting: list[Any]
    bundle: Bundle | None = None


@dataclass(slots=True, eq=False)
class Bundle:
    """Steps that are carried out all or none. They are held back until the switch has read them all."""

    number: int
    open_xid: int
    commit_xid: int
    steps: list[Step]
    after: list[Queued]
    committed: bool = False
    unknown: bool = False
    failed: bool = False


class Outbox:
    """The steps of one switch, in the order in which they take effect."""

    def __init__(self, datapath: Any, xids: Iterator[int]) -> None:
        self._datapath = datapath
        self._xids = xids
        self._queue: list[Queued] = []
        # Whether there may be several steps in the queue for one entry.
        self._mixed = False
        self._waiting: list[Any] = []
        self._fences: dict[int, Fence] = {}
        self._unconfirmed: dict[int, Step] = {}
        self._bundles: dict[int, Bundle] = {}
        self._held: Bundle | None = None
        self._by_key: dict[EntryKey, list[Step]] | None = None
        self.speaks_bundles = True
        self._numbers = 0

    @property
    def oldest(self) -> int | None:
        """The barrier that is on its way for longest."""
        return next(iter(self._fences), None)

    @property
    def is_quiet(self) -> bool:
        """Whether everything is confirmed."""
        return not (self._queue or self._waiting or self._fences)

    # -- in -------------------------------------------------------------------------------------------------

    def put(self, queued: Iterable[Queued]) -> None:
        """Queue steps, each for another entry."""
        self._mixed = self._mixed or bool(self._queue)
        self._queue += queued

    def again(self, steps: Iterable[Step], waiting: list[Any]) -> None:
        """Send steps of a bundle that failed once more, on their own and ahead of what is queued."""
        kept = [step for step in steps if not self.hand_on(step)]
        self._write(((s.key, s.entry, s.remove, s.before, s.batch) for s in kept), waiting)

    def wait(self, who: Any) -> None:
        """Have it confirmed to somebody when all that was put so far is carried out."""
        self._waiting.append(who)

    # -- out ------------------------------------------------------------------------------------------------

    def flush(self) -> list[Step]:
        """Write what is queued, unless a bundle waits to be committed; returns steps that cannot be said."""
        if self._held is not None or not (self._queue or self._waiting):
            return []
        queue, self._queue = (_in_one(self._queue) if self._mixed else self._queue), []
        self._mixed = False
        waiting, self._waiting = self._waiting, []
        if self.speaks_bundles and len(queue) >= BUNDLE_FROM:
            return self._write_bundle(queue, waiting)
        return self._write(queue, waiting)

    def _write(self, queue: Iterable[Queued], waiting: list[Any]) -> list[Step]:
        steps: list[Step] = []
        parts = self._encode(queue, steps)
        self._fence(Fence(steps, waiting), parts)
        return [step for step in steps if step.refused is not None]

    def _encode(self, queue: Iterable[Queued], steps: list[Step], bundle: Bundle | None = None) -> list[bytes]:
        """Write all but the last messages, which are returned; adds the steps to those of their fence."""
        parts: list[bytes] = []
        unconfirmed, xids = self._unconfirmed, self._xids
        self._by_key = None
        for key, entry, remove, before, batch in queue:
            xid = next(xids)
            step = Step(xid, key, entry, remove, before, batch, bundle)
            steps.append(step)
            try:
                message = wire.change(entry, xid, remove=remove, replace=before is not None)
            except ValueError as error:
                step.refused = str(error)
                continue
            unconfirmed[xid] = step
            parts.append(message if bundle is None else wire.bundle_add(bundle.number, message))
            if len(parts) == _WRITE:
                self._datapath.send(b"".join(parts))
                parts.clear()
        return parts

    def _fence(self, fence: Fence, parts: list[bytes]) -> None:
        xid = next(self._xids)
        self._fences[xid] = fence
        self._datapath.send(b"".join((*parts, wire.barrier(xid))))

    def _write_bundle(self, queue: list[Queued], waiting: list[Any]) -> list[Step]:
        # Meters cannot be in a bundle: they are there before the rules that name them, and leave after those.
        meters = [queued for queued in queue if isinstance(queued[1], Meter)]
        inside = [queued for queued in queue if not isinstance(queued[1], Meter)] if meters else queue
        self._numbers += 1
        after = [queued for queued in meters if queued[2]]
        bundle = Bundle(self._numbers, next(self._xids), next(self._xids), [], after)
        self._bundles[bundle.open_xid] = self._bundles[bundle.commit_xid] = bundle
        self._held = bundle
        before: list[Step] = []
        parts = self._encode((queued for queued in meters if not queued[2]), before)
        self._datapath.send(b"".join((*parts, wire.bundle_open(bundle.number, bundle.open_xid))))
        parts = self._encode(inside, bundle.steps, bundle)
        bundle.failed = any(step.refused is not None for step in bundle.steps)
        self._fence(Fence(before, waiting, bundle), parts)
        return [step for step in before if step.refused is not None]

    # -- what the switch says -------------------------------------------------------------------------------

    def confirmed(self, xid: int) -> Fence | None:
        """A barrier came back. Returns what it confirms, None where it is none of ours or more is to come.

        The fence of a bundle that failed says so: nothing of it was carried out.
        """
        fence = self._fences.pop(xid, None)
        if fence is None:
            return None
        bundle = fence.bundle
        if bundle is not None and bundle is self._held and (bundle.committed or not bundle.after):
            # What comes next may be written behind the commit, but not ahead of meters that leave after it.
            self._held = None
        if bundle is not None and not bundle.committed:
            if not (bundle.unknown or bundle.failed):
                bundle.committed = True
                self._fence(fence, [wire.bundle_commit(bundle.number, bundle.commit_xid)])
                return None
            self._held = None
            bundle.failed = True
            if not bundle.unknown:
                self._datapath.send(wire.bundle_discard(bundle.number, next(self._xids)))
        self._forget(fence)
        if bundle is not None:
            self._end(fence, bundle)
        return fence

    def _end(self, fence: Fence, bundle: Bundle) -> None:
        if bundle.failed:
            # The meters outside are there: their steps stand.
            fence.steps = bundle.steps
        if bundle.after:
            self._mixed = bool(self._queue)
            self._queue[:0] = bundle.after
            if not bundle.failed:
                self._waiting[:0], fence.waiting = fence.waiting, []

    def _forget(self, fence: Fence) -> None:
        pop = self._unconfirmed.pop
        for step in fence.steps:
            pop(step.xid, None)
        if fence.bundle is not None:
            for step in fence.bundle.steps:
                pop(step.xid, None)
            del self._bundles[fence.bundle.open_xid], self._bundles[fence.bundle.commit_xid]
        self._by_key = None

    def refused(self, xid: int, why: str) -> Step | None:
        """The switch refused a message. Returns the step it was, if that was sent on its own.

        What is refused in a bundle is told when the bundle is over: none of it was carried out then.
        """
        bundle = self._bundles.get(xid)
        if bundle is not None:
            bundle.failed = True
            if xid == bundle.open_xid:
                bundle.unknown, self.speaks_bundles = True, False
            return None
        step = self._unconfirmed.get(xid)
        if step is None:
            return None
        if step.bundle is not None:
            step.bundle.failed = True
            step.refused = None if step.bundle.unknown else why
            return None
        step.refused = why
        return step

    def hand_on(self, step: Step) -> bool:
        """A step was not carried out: the next one for its entry meets what this one met. False without a next."""
        if self._by_key is None:
            self._by_key = {}
            for other in self._unconfirmed.values():
                self._by_key.setdefault(other.key, []).append(other)
        others = self._by_key.get(step.key, [])
        later = others[others.index(step) + 1 :] if step in others else others
        if later:
            later[0].before = step.before
            return True
        for number, (key, entry, remove, _, batch) in enumerate(self._queue):
            if key == step.key:
                self._queue[number] = key, entry, remove, step.before, batch
                return True
        return False


def _in_one(queue: list[Queued]) -> list[Queued]:
    """The same with one step an entry: from what was there before the first to what is there after the last.

    What is put stays where it came first, ahead of what names it; what is removed goes where it went last.
    """
    steps: dict[EntryKey, Queued] = {}
    for queued in queue:
        key, entry, remove, _, batch = queued
        first = steps.get(key)
        if first is None:
            steps[key] = queued
            continue
        was = first[3]
        if (was is None) if remove else (was == entry):
            del steps[key]
            continue
        if remove:
            del steps[key]
        steps[key] = key, entry, remove, was, batch
    return list(steps.values())
