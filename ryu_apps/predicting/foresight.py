"""What a forecast is asked and what it answers; and what is said where nobody can forecast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forecasting import DEFAULT_LEVELS, Forecast
from ryu_apps.events import Outlook
from stitching.network import LinkKey, port_name
from stitching.routes import Pair

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What a forecast is asked about: the demands and links of one moment."""

    time_s: float
    beat: int
    links: tuple[LinkKey, ...]
    pairs: tuple[Pair, ...]
    samples: int
    carrying: frozenset[tuple[int, int]]
    left_out: int

    def outlook(self, demands: Forecast, links: Forecast) -> Outlook:
        """The answer."""
        return Outlook(
            self.time_s, self.links, links, self.pairs, demands, self.samples, self.carrying, self.left_out
        )


def constant(names: tuple[str, ...], known: Floats, step_s: float, horizon: int, *, cold: bool) -> Forecast:
    """All stays as it was measured last, `known` (n, 1), for `horizon` steps."""
    values = np.repeat(known, horizon, axis=1)
    quantiles = np.repeat(values[:, :, None], len(DEFAULT_LEVELS), axis=2)
    return Forecast(names, step_s, DEFAULT_LEVELS, values, quantiles, np.full(len(names), cold))


def pair_names(pairs: tuple[Pair, ...]) -> tuple[str, ...]:
    """The names of demands as series."""
    return tuple(f"{source}>{target}" for source, target in pairs)


def link_names(links: tuple[LinkKey, ...]) -> tuple[str, ...]:
    """The names of links as series."""
    return tuple(f"{port_name(key[:2])}>{port_name(key[2:])}" for key in links)
