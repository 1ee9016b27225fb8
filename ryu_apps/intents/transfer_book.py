"""How far transfers have come, and what is expected of links in the meantime."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from logging import Logger

from ryu_apps.events import OutlookRequest, Rates
from ryu_apps.intents.counting import counted
from ryu_apps.intents.hands import Ask
from ryu_apps.intents.kept import Store
from ryu_apps.store import StoreError
from stitching.intents.document import Document
from stitching.intents.wanted import Wanted
from stitching.intents.world import Expected, Progress, World
from stitching.stitch import Stitch

OUTLOOK_S = 60.0
"""How often the outlook over the day is asked for."""

SAVE_S = 10.0
"""What is counted is stored so often; a crash loses no more of it."""


class TransferBook:
    """The progress of transfers by intent. day_ahead: whether there is an outlook over the next day to ask for."""

    def __init__(
        self, store: Store, ask: Ask, log: Logger, monotonic: Callable[[], float], *, day_ahead: bool
    ) -> None:
        self._store, self._ask, self._log, self._monotonic = store, ask, log, monotonic
        self._day_ahead = day_ahead
        self._look_at_s = self._save_at_s = float("-inf")
        self.progress: dict[str, Progress] = store.progress()
        self.expected: Expected | None = None

    def take(self, wanted: Wanted) -> None:
        """Go on with what was worked out; what was carried stays also while a host is not known."""
        kept = {name: one for name, one in self.progress.items() if name in wanted.unresolved}
        progress = {**kept, **wanted.progress}
        if progress != self.progress:
            self.progress = progress
            self._save()

    def count(self, document: Document, world: World, stitches: Iterable[Stitch], rates: Rates) -> None:
        """Add what was carried in a period."""
        self.progress = counted(self.progress, document, world, stitches, rates)
        if self._monotonic() >= self._save_at_s:
            self._save()

    def look_ahead(self) -> None:
        """Ask for the outlook now and then: the next transfer is placed by it."""
        if not self._day_ahead or self._monotonic() < self._look_at_s:
            return
        self._look_at_s = self._monotonic() + OUTLOOK_S
        try:
            outlook = self._ask("DayPredictor", OutlookRequest())
        except (LookupError, TimeoutError):
            return
        if outlook is not None:
            self.expected = Expected(outlook.time_s, outlook.links.step_s, outlook.link_keys, outlook.links.mean)

    def _save(self) -> None:
        self._save_at_s = self._monotonic() + SAVE_S
        try:
            self._store.save_progress(self.progress)
        except StoreError as error:
            self._log.warning("transfers=unsaved error=%s", error)
