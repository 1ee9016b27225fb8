"""Stitches that are stored in one go, as far as one of them does not need another to be stored first."""

from __future__ import annotations

from stitching.kinds import fixed_pairs
from stitching.stitch import Stitch, StitchRequest


class Together:
    """Stitches that are stored together. Labels are told apart by what is stored: no two are of the same hosts."""

    def __init__(self) -> None:
        self._stitches: list[Stitch] = []
        self._pairs: set[tuple[str, str]] = set()

    def shares(self, request: StitchRequest) -> bool:
        """Whether one of them is between the same hosts."""
        pairs = fixed_pairs(request)
        return bool(self._stitches) and (pairs is None or not self._pairs.isdisjoint(pairs))

    def add(self, stitch: Stitch) -> None:
        """One more."""
        self._stitches.append(stitch)
        self._pairs.update(fixed_pairs(stitch.request) or ())

    def take(self) -> list[Stitch]:
        """All of them; none is left."""
        taken = self._stitches
        self._stitches, self._pairs = [], set()
        return taken
