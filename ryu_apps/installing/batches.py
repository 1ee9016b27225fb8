"""Changes in progress: stages on their way, what each of them touches, and what undoing it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ryu_apps import wire
from ryu_apps.events import ApplyStages
from ryu_apps.installing.wants import watches_alive
from stitching.difference import Change
from stitching.rules import EntryKey

Touched = dict[int, dict[EntryKey, bool]]
"""By switch, the keys of entries that a change touches, and whether it puts them there."""


@dataclass(eq=False)
class Batch:
    """A list of stages that is being carried out."""

    request: ApplyStages
    touches: Touched
    next_stage: int = 0
    waiting: set[int] = field(default_factory=set)
    deadline_s: float = 0.0
    undo: list[Change] = field(default_factory=list)
    written: int = 0

    @classmethod
    def of(cls, request: ApplyStages) -> Batch:
        """A change that has not begun."""
        touches: Touched = {}
        for stage in request.stages:
            for change in stage:
                keys = touches.setdefault(change.dpid, {})
                key = change.entry.key
                keys[key] = keys.get(key, False) or not change.remove
                if watches_alive(change.entry):
                    keys[wire.ALIVE.key] = keys.get(wire.ALIVE.key, False) or not change.remove
        return cls(request, touches)

    @property
    def owner(self) -> str:
        """Whose change it is."""
        return self.request.owner

    @property
    def is_done(self) -> bool:
        """Whether all its stages were sent."""
        return self.next_stage == len(self.request.stages)


class InProgress:
    """All changes in progress, one an owner, found by owner, by switch or by entry."""

    def __init__(self) -> None:
        self._by_owner: dict[str, Batch] = {}
        self._by_key: dict[int, dict[EntryKey, list[Batch]]] = {}

    def __iter__(self) -> Iterator[Batch]:
        return iter(list(self._by_owner.values()))

    def __len__(self) -> int:
        return len(self._by_owner)

    def begin(self, batch: Batch) -> None:
        """From now on its entries are left alone by everybody else."""
        self._by_owner[batch.owner] = batch
        for dpid, keys in batch.touches.items():
            by_key = self._by_key.setdefault(dpid, {})
            for key in keys:
                by_key.setdefault(key, []).append(batch)

    def end(self, batch: Batch) -> None:
        """It is over, one way or another."""
        del self._by_owner[batch.owner]
        for dpid, keys in batch.touches.items():
            by_key = self._by_key[dpid]
            for key in keys:
                by_key[key].remove(batch)
                if not by_key[key]:
                    del by_key[key]

    def of(self, owner: str) -> Batch | None:
        """The change of an owner."""
        return self._by_owner.get(owner)

    def runs(self, batch: Batch) -> bool:
        """Whether it has not ended."""
        return self._by_owner.get(batch.owner) is batch

    def busy(self, dpid: int) -> dict[EntryKey, list[Batch]]:
        """The keys on a switch that are being changed, and by which changes."""
        return self._by_key.get(dpid, {})

    def on(self, dpid: int) -> list[Batch]:
        """The changes that touch a switch."""
        if not self._by_key.get(dpid):
            return []
        return [batch for batch in self._by_owner.values() if dpid in batch.touches]

    def puts(self, dpid: int, key: EntryKey, but: Batch | None) -> bool:
        """Whether a change other than this one puts an entry of this key there, or has."""
        return any(batch.touches[dpid][key] for batch in self.busy(dpid).get(key, ()) if batch is not but)
