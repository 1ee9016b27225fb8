"""Which links are to blame for what stitches lose, or how late they are, judged by the paths that share them.

Boolean tomography in weights (after Duffield, Network tomography of binary network performance
characteristics, 2006): what is missed on a path is spread over its links by how much each was suspected before, so
that a link which several bad paths have in common soon bears all of it; a path that does well clears its links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stitching.network import LinkKey

HALF_LIFE_S = 60.0
LONGEST_HALF_LIFE_S = 3600.0
"""A suspicion that nothing speaks for halves in this time; each relapse doubles the time."""

_AT_FIRST = 0.01
"""Of what is spread: what each link is suspected of before anything is known."""

_RELAPSE = 0.5
"""Fallen below this share of its last peak, a link that is blamed again has relapsed."""

_NOTHING = 1e-3
"""A suspicion below this share of its peak is no suspicion."""


@dataclass(slots=True)
class _Suspicion:
    amount: float
    at_s: float
    since_s: float
    peak: float
    half_life_s: float = HALF_LIFE_S

    def now(self, now_s: float) -> float:
        return self.amount * float(2.0 ** -((now_s - self.at_s) / self.half_life_s))


class Blame:
    """What each directed link adds to the paths over it, in a unit that adds up along a path.

    For loss that is -ln(1 - share lost). Times are of one monotonic clock.
    """

    def __init__(self) -> None:
        self._suspected: dict[LinkKey, _Suspicion] = {}

    def __bool__(self) -> bool:
        return bool(self._suspected)

    def lay(self, links: Iterable[LinkKey], amount: float, now_s: float, since_s: float) -> None:
        """A path over these links misses so much, and has since then."""
        path = tuple(dict.fromkeys(links))
        before = {key: self.of(key, now_s) for key in path}
        # Squared, so that the common link gains on the others each time.
        weight = {key: (before[key] + _AT_FIRST * amount) ** 2 for key in path}
        whole = sum(weight.values())
        for key in path if whole > 0 else ():
            share = amount * weight[key] / whole
            known = self._suspected.get(key)
            if known is None:
                self._suspected[key] = _Suspicion(share, now_s, since_s, share)
                continue
            if before[key] < _RELAPSE * known.peak and share > 2 * before[key] and share >= _RELAPSE * known.peak:
                known.half_life_s = min(2 * known.half_life_s, LONGEST_HALF_LIFE_S)
                known.peak, known.since_s = share, since_s
            known.amount, known.at_s, known.peak = share, now_s, max(share, known.peak)

    def clear(self, links: Iterable[LinkKey], clean_since_s: float, now_s: float, enough_s: float) -> None:
        """A path over these has missed nothing since then: for long enough, they are innocent.

        What was clean before the trouble began says nothing. How long a link is suspected the next time is kept.
        """
        for key in links:
            known = self._suspected.get(key)
            if known is not None and now_s - max(clean_since_s, known.since_s) >= enough_s:
                known.amount = 0.0

    def of(self, key: LinkKey, now_s: float) -> float:
        """What a link is suspected of adding."""
        known = self._suspected.get(key)
        return 0.0 if known is None else known.now(now_s)

    def now(self, now_s: float) -> Mapping[LinkKey, float]:
        """All that are suspected; those long forgotten are dropped."""
        found = {}
        for key, known in list(self._suspected.items()):
            amount = known.now(now_s)
            if amount > _NOTHING * known.peak:
                found[key] = amount
            elif now_s - known.at_s > 20 * known.half_life_s:
                del self._suspected[key]
        return found
