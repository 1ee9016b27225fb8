"""Which stitches wait for something to happen, and when those that failed are tried again."""

from __future__ import annotations

from stitching.stitch import State, Stitch

RETRY_S = 5.0
"""How long a stitch that failed waits before it is tried again, unless the fabric changes first."""


class Idle:
    """Stitches that nothing is being done for, by number. Times are of one monotonic clock."""

    def __init__(self) -> None:
        self._dormant: set[int] = set()
        self._retry_at_s: dict[int, float] = {}
        self._at_once: set[int] = set()
        self.hurried = 0
        """How often something has changed."""

    def rest(self, stitch_id: int) -> None:
        """It waits until something happens; no deadline runs meanwhile."""
        self._dormant.add(stitch_id)

    def wake(self, stitch_id: int) -> None:
        """It waits no longer."""
        self._dormant.discard(stitch_id)

    def rests(self, stitch_id: int) -> bool:
        """Whether it waits until something happens."""
        return stitch_id in self._dormant

    def tried(self, stitch_id: int, now_s: float) -> None:
        """It failed, or is being tried again: not once more for a while."""
        self._retry_at_s[stitch_id] = now_s + RETRY_S

    def hurry(self) -> None:
        """Something has changed: whatever failed may be tried at once."""
        self._retry_at_s.clear()
        self.hurried += 1

    def hurry_one(self, stitch_id: int) -> None:
        """It may be tried at once, before others have their turn."""
        self._retry_at_s.pop(stitch_id, None)
        self._at_once.add(stitch_id)

    def take_at_once(self) -> list[int]:
        """Those that are to be tried before others have their turn, this once."""
        taken, self._at_once = sorted(self._at_once), set()
        return taken

    def is_due(self, stitch: Stitch, now_s: float) -> bool:
        """Whether it is idle and may be tried now."""
        idle = stitch.state is State.FAILED or stitch.id in self._dormant
        return idle and now_s >= self._retry_at_s.get(stitch.id, 0.0)
