"""All stitches there are: in memory as they are now, in the store as soon as it takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from logging import Logger
from typing import Protocol

from ryu_apps.store import StoreError
from stitching.kinds import fixed_pairs
from stitching.stitch import ENDED, State, Stitch, StitchRequest

AGAIN_S = 0.5
"""How often the store is offered what it does not take."""


class StitchStore(Protocol):
    """Where stitches are kept (ryu_apps.store.StateStore). All calls raise StoreError."""

    def stitches(self) -> Sequence[Stitch]:
        """All that were kept."""

    def save_stitches(self, stitches: Iterable[Stitch]) -> None:
        """Keep stitches, all or none; returns when they are safe."""

    def next_stitch_ids(self, count: int) -> Sequence[int]:
        """Numbers that were never given before."""

    def forget_stitches(self, ended_before_s: float) -> None:
        """Drop those that ended before this time."""


class StitchBook:
    """Stitches by number. `changed` is called after each change, with the stitch and the state it was in."""

    def __init__(
        self,
        store: StitchStore,
        log: Logger,
        changed: Callable[[Stitch, State | None], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._log = log
        self._changed = changed
        self._stitches: dict[int, Stitch] = {}
        # Of those that ended there may be many more than of those that are there.
        self._active: dict[int, Stitch] = {}
        self._by_pair: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        self._anywhere: set[int] = set()
        self._by_priority: defaultdict[int, set[int]] = defaultdict(set)
        self._unsaved: set[int] = set()
        self._failing = False
        self._again_s = float("-inf")
        self._monotonic = monotonic
        self._since_s: dict[int, float] = {}

    def load(self) -> tuple[Stitch, ...]:
        """Take up what was stored, and answer it."""
        for stitch in self._store.stitches():
            self._keep(stitch)
            self._since_s[stitch.id] = self._monotonic()
        return tuple(self)

    def new(self, requests: Sequence[StitchRequest], now_s: float) -> list[Stitch]:
        """Stitches with numbers of their own, not in the book yet. Raises StoreError."""
        numbers = self._store.next_stitch_ids(len(requests))
        return [
            Stitch(number, request, State.REQUESTED, now_s, now_s)
            for number, request in zip(numbers, requests, strict=True)
        ]

    def __getitem__(self, number: int) -> Stitch:
        return self._stitches[number]

    def get(self, number: int) -> Stitch | None:
        """The stitch of this number, None where there is none."""
        return self._stitches.get(number)

    def __iter__(self) -> Iterator[Stitch]:
        """All that are remembered, oldest first, as they are when this begins: the book may change meanwhile."""
        return iter([self._stitches[number] for number in sorted(self._stitches)])

    def some(self, numbers: Collection[int] | None) -> Iterator[Stitch]:
        """Those of these numbers that there are, or all: oldest first."""
        return (
            iter(self) if numbers is None else (self._stitches[n] for n in sorted(numbers) if n in self._stitches)
        )

    @property
    def active(self) -> tuple[Stitch, ...]:
        """Those that have not ended."""
        return tuple(self._active[number] for number in sorted(self._active))

    def below(self, priority: int) -> list[Stitch]:
        """Those that have not ended and are less important: as many as there are of them are looked at."""
        numbers = (n for level, there in self._by_priority.items() if level < priority for n in there)
        return [self._active[number] for number in sorted(numbers)]

    def between(self, request: StitchRequest) -> list[Stitch]:
        """Those that have not ended and may carry packets between the hosts of a request."""
        pairs = fixed_pairs(request)
        if pairs is None:
            return list(self.active)
        numbers = {number for pair in pairs for number in self._by_pair.get(pair, ())} | self._anywhere
        return [self._active[number] for number in sorted(numbers)]

    @property
    def unsaved(self) -> int:
        """How many the store does not take as they are."""
        return len(self._unsaved) if self._failing else 0

    def put(self, stitch: Stitch) -> Stitch:
        """Note what has happened to a stitch; the store has it with the next `flush`.

        It has happened whether the disk takes it or not: a full disk must not keep one up that carries nothing.
        """
        self._note(stitch)
        self._unsaved.add(stitch.id)
        return stitch

    def put_certain(self, stitches: Sequence[Stitch]) -> None:
        """Store what is to become of stitches before anything is done about it: all, or StoreError and none."""
        self._store.save_stitches(stitches)
        for stitch in stitches:
            self._unsaved.discard(stitch.id)
            self._note(stitch)

    def flush(self) -> None:
        """Store what has happened since; what the store does not take now it is offered again."""
        if not self._unsaved or self._monotonic() < self._again_s:
            return
        try:
            self._store.save_stitches([self._stitches[number] for number in sorted(self._unsaved)])
        except StoreError as error:
            if not self._failing:
                self._log.warning("stitches=%d unsaved error=%s", len(self._unsaved), error)
            self._failing = True
            # Not at once: a store that is locked has the writer wait, who has stitches to look after.
            self._again_s = self._monotonic() + AGAIN_S
            return
        if self._failing:
            self._log.info("stitches=%d saved after errors", len(self._unsaved))
        self._failing = False
        self._unsaved.clear()

    def overdue(self, deadlines_s: Mapping[State, float]) -> list[Stitch]:
        """Those that have been in a state for longer than that allows, by a clock that nobody sets."""
        now_s = self._monotonic()
        return [
            stitch
            for stitch in self.active
            if stitch.state in deadlines_s
            and now_s - self._since_s.get(stitch.id, now_s) > deadlines_s[stitch.state]
        ]

    def forget_ended(self, before_s: float) -> None:
        """Drop those that ended before this time."""
        # The store forgets what it knows to have ended. One that it does not would come back with the next start.
        ended = (s for s in self._stitches.values() if s.state in ENDED and s.id not in self._unsaved)
        old = [stitch.id for stitch in ended if stitch.changed_s < before_s]
        if not old:
            return
        try:
            self._store.forget_stitches(before_s)
        except StoreError as error:
            self._log.warning("ended=not_forgotten error=%s", error)
            return
        for number in old:
            self._drop(number)

    def _note(self, stitch: Stitch) -> None:
        before = self._stitches.get(stitch.id)
        was = before.state if before is not None else None
        self._keep(stitch)
        if was is not stitch.state:
            self._since_s[stitch.id] = self._monotonic()
            self._log.info("stitch=%d state=%s was=%s reason=%s", stitch.id, stitch.state, was, stitch.reason)
        self._changed(stitch, was)

    def _keep(self, stitch: Stitch) -> None:
        if stitch.state in ENDED:
            self._leave(stitch)
        elif stitch.id not in self._active:
            pairs = fixed_pairs(stitch.request)
            if pairs is None:
                self._anywhere.add(stitch.id)
            for pair in pairs or ():
                self._by_pair[pair].add(stitch.id)
        else:
            self._by_priority[self._active[stitch.id].request.priority].discard(stitch.id)
        self._stitches[stitch.id] = stitch
        if stitch.state not in ENDED:
            self._active[stitch.id] = stitch
            self._by_priority[stitch.request.priority].add(stitch.id)

    def _leave(self, stitch: Stitch) -> None:
        """It carries nothing any more."""
        if (was := self._active.pop(stitch.id, None)) is None:
            return
        self._by_priority[was.request.priority].discard(stitch.id)
        self._anywhere.discard(stitch.id)
        for pair in fixed_pairs(stitch.request) or ():
            self._by_pair[pair].discard(stitch.id)
            if not self._by_pair[pair]:
                del self._by_pair[pair]

    def _drop(self, number: int) -> None:
        del self._stitches[number]
        self._since_s.pop(number, None)
