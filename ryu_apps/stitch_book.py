"""All stitches there are: in memory as they are now, in the store as soon as it takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from logging import Logger
from typing import Protocol

from ryu_apps.store import StoreError
from stitching.stitch import ENDED, State, Stitch, StitchRequest


class StitchStore(Protocol):
    """Where stitches are kept (ryu_apps.store.StateStore). All calls raise StoreError."""

    def stitches(self) -> Sequence[Stitch]:
        """All that were kept."""

    def save_stitch(self, stitch: Stitch) -> None:
        """Keep a stitch; returns when it is safe."""

    def next_stitch_id(self) -> int:
        """A number that was never given before."""

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
        self._unsaved: set[int] = set()
        self._monotonic = monotonic
        self._since_s: dict[int, float] = {}

    def load(self) -> tuple[Stitch, ...]:
        """Take up what was stored, and answer it."""
        self._stitches = {stitch.id: stitch for stitch in self._store.stitches()}
        return tuple(self._stitches.values())

    def new(self, request: StitchRequest, now_s: float) -> Stitch:
        """A stitch with a number of its own, not in the book yet. Raises StoreError."""
        return Stitch(self._store.next_stitch_id(), request, State.REQUESTED, now_s, now_s)

    def __getitem__(self, number: int) -> Stitch:
        return self._stitches[number]

    def get(self, number: int) -> Stitch | None:
        """The stitch of this number, None where there is none."""
        return self._stitches.get(number)

    def __iter__(self) -> Iterator[Stitch]:
        """All that are remembered, oldest first, as they are when this begins: the book may change meanwhile."""
        return iter([self._stitches[number] for number in sorted(self._stitches)])

    @property
    def active(self) -> tuple[Stitch, ...]:
        """Those that have not ended."""
        return tuple(stitch for stitch in self if stitch.state not in ENDED)

    @property
    def unsaved(self) -> int:
        """How many the store does not have as they are."""
        return len(self._unsaved)

    def put(self, stitch: Stitch, *, certain: bool = False) -> Stitch:
        """Store a stitch as it is now, before anything is done about it.

        What somebody asks for must be stored for `certain`, or it raises StoreError and is not done. What happens
        to a stitch happens all the same: a full disk must not keep one up that carries nothing.
        """
        before = self._stitches.get(stitch.id)
        try:
            self._store.save_stitch(stitch)
        except StoreError as error:
            if certain:
                raise
            if not self._unsaved:
                self._log.warning("stitch=%d unsaved error=%s", stitch.id, error)
            self._unsaved.add(stitch.id)
        else:
            self._unsaved.discard(stitch.id)
        self._stitches[stitch.id] = stitch
        was = before.state if before is not None else None
        if was is not stitch.state:
            self._since_s[stitch.id] = self._monotonic()
            self._log.info("stitch=%d state=%s was=%s reason=%s", stitch.id, stitch.state, was, stitch.reason)
        self._changed(stitch, was)
        return stitch

    def overdue(self, deadlines_s: Mapping[State, float]) -> list[Stitch]:
        """Those that have been in a state for longer than that allows, by a clock that nobody sets."""
        now_s = self._monotonic()
        return [
            stitch
            for stitch in self
            if stitch.state in deadlines_s
            and now_s - self._since_s.get(stitch.id, now_s) > deadlines_s[stitch.state]
        ]

    def save_again(self) -> None:
        """Store what the store did not take before."""
        for number in list(self._unsaved):
            try:
                self._store.save_stitch(self._stitches[number])
            except StoreError:
                return
            self._unsaved.discard(number)
            self._log.info("stitch=%d saved after errors", number)

    def forget_ended(self, before_s: float) -> None:
        """Drop those that ended before this time."""
        # The store forgets what it knows to have ended. One that it does not would come back with the next start.
        ended = (s for s in self if s.state in ENDED and s.id not in self._unsaved)
        old = [stitch.id for stitch in ended if stitch.changed_s < before_s]
        if not old:
            return
        try:
            self._store.forget_stitches(before_s)
        except StoreError as error:
            self._log.warning("ended=not_forgotten error=%s", error)
            return
        for number in old:
            del self._stitches[number]
            self._since_s.pop(number, None)
