"""When a stitch that carries should be better than it is, and when it is tried to make it so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ryu_apps.stitches.watch import Watch
from stitching.entrance import kept_out
from stitching.kinds import same_place, silent_words
from stitching.rules import Entry
from stitching.stitch import Placement, State, Stitch

HOLD_DOWN_S = 10.0
"""The links of the fabric have been the same ones for this long before stitches go back to their old paths."""

FIRST_PAUSE_S = 5.0
LAST_PAUSE_S = 300.0
"""Between two attempts at one stitch; it doubles as long as they bring nothing."""

AT_ONCE = 50
"""How many stitches are looked at in one second."""

WORTH = 0.9
"""A path is better if it takes less than this share of the latency."""


class Upkeep:
    """What is wrong with stitches that carry, and who was moved off a path. Times are of one monotonic clock."""

    def __init__(self) -> None:
        self._damage: dict[int, str] = {}
        self._displaced: set[int] = set()
        self._next_s: dict[int, float] = {}
        self._pause_s: dict[int, float] = {}
        self._changed_s = float("-inf")
        self.missing: Mapping[int, tuple[Entry, ...]] = {}
        """What switches have not taken of what is wanted of them."""

    def fabric_changed(self, now_s: float) -> None:
        """A link came or went."""
        self._changed_s = now_s
        self._next_s.clear()
        self._pause_s.clear()

    def damaged(self, stitch_id: int, reason: str | None) -> bool:
        """The path of a stitch is hurt, or whole (None). Answers whether that was known."""
        known = self._damage.get(stitch_id) == reason
        if reason is None:
            self._damage.pop(stitch_id, None)
        else:
            self._damage[stitch_id] = reason
        return known

    def displaced(self, stitch_id: int) -> None:
        """A stitch was moved because its path was hurt: it may find a better one when the fabric has recovered."""
        self._displaced.add(stitch_id)

    def attempted(self, stitch_id: int, now_s: float) -> None:
        """It was tried to make a stitch better."""
        pause_s = self._pause_s.get(stitch_id, FIRST_PAUSE_S)
        self._next_s[stitch_id] = now_s + pause_s
        self._pause_s[stitch_id] = min(2 * pause_s, LAST_PAUSE_S)

    def forget(self, stitch_id: int) -> None:
        """A stitch has no path any more."""
        self._damage.pop(stitch_id, None)
        self._displaced.discard(stitch_id)
        self._next_s.pop(stitch_id, None)
        self._pause_s.pop(stitch_id, None)

    def shortcoming(self, stitch: Stitch, watch: Watch, now_s: float) -> str | None:
        """What a stitch lacks of what was asked for; None where it is all there."""
        if (hurt := self._damage.get(stitch.id)) is not None:
            return hurt
        if watch.branches and (silent := watch.silent(now_s)):
            return f"no probe comes through {silent_words(stitch, silent)}"
        if self.missing and (why := kept_out(stitch, self.missing)) is not None:
            return why
        if watch.slow:
            return f"latency {watch.latency_ms:.3g} ms is above {stitch.request.max_latency_ms:g} ms"
        if watch.lossy and watch.loss is not None:
            return f"loss {watch.loss:.1%} is above {stitch.request.max_loss:.2%}"
        return None

    def due(self, now_s: float, stitches: Iterable[Stitch]) -> list[int]:
        """Those to try now; each of them counts as attempted."""
        quiet = now_s - self._changed_s >= HOLD_DOWN_S
        found = []
        for stitch in stitches:
            degraded = stitch.state is State.DEGRADED
            back = stitch.state is State.UP and quiet and stitch.id in self._displaced
            if not degraded and not back:
                continue
            # What falls short is given a moment to recover by itself.
            if now_s < self._next_s.setdefault(stitch.id, now_s + FIRST_PAUSE_S if degraded else now_s):
                continue
            self.attempted(stitch.id, now_s)
            if back:
                self._displaced.discard(stitch.id)
            found.append(stitch.id)
            if len(found) == AT_ONCE:
                break
        return found

    def is_better(self, stitch: Stitch, path: Placement) -> bool:
        """Whether a stitch should leave its path for this one."""
        now = stitch.path
        if now is None or same_place(path, now):
            return False
        if stitch.state is State.DEGRADED:
            return path.links != now.links or stitch.id in self._damage
        if path.latency_ms is None or now.latency_ms is None:
            return len(path.links) < len(now.links)
        return path.latency_ms < WORTH * now.latency_ms
