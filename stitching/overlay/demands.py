"""What sites send each other, from what is counted at the ends of tunnels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

from stitching.overlay.choosing import Choice
from stitching.overlay.compiling import ChoiceKey
from stitching.overlay.relieving import Demand
from stitching.overlay.sites import Pair, pair_of

_NOTHING: Mapping[ChoiceKey, str] = MappingProxyType({})

Sending = Mapping[tuple[int, str], float]
"""By serial and tunnel, what a site sends into it, in Mbit/s."""


def demands(
    sending: Sending, choices: Mapping[ChoiceKey, Choice], takes: Mapping[ChoiceKey, str] = _NOTHING
) -> Mapping[ChoiceKey, float]:
    """What each class sends from one site to another, in Mbit/s; nothing is said of what nobody counted.

    `takes` are the tunnels that sites say they take: they leave a dead one without asking. Who has said nothing
    takes what was chosen.

    A tunnel counts all that goes into it. What others send by way of a site is taken off where it leaves that one
    again; what is left is shared out evenly among those of its own that take the tunnel, as nobody can tell them
    apart.
    """
    first = _shares(sending, choices, takes)
    passing: dict[tuple[int, str], float] = defaultdict(float)
    for key, mbps in first.items():
        way = choices[key].taken
        for (node, _), tunnel in list(zip(pairwise(way.nodes), way.tunnels, strict=True))[1:]:
            passing[node, tunnel] += mbps
    own = {end: max(0.0, mbps - passing.get(end, 0.0)) for end, mbps in sending.items()}
    return _shares(own, choices, takes)


def pair_demands(expected: Mapping[ChoiceKey, Demand]) -> Mapping[Pair, float]:
    """What two sites will send each other, both ways and in all classes together: a high quantile, in Mbit/s."""
    found: dict[Pair, float] = defaultdict(float)
    for (src, dst, _), demand in expected.items():
        found[pair_of(src, dst)] += demand.high_mbps
    return found


def _shares(
    sending: Sending, choices: Mapping[ChoiceKey, Choice], takes: Mapping[ChoiceKey, str]
) -> dict[ChoiceKey, float]:
    takers: dict[tuple[int, str], list[ChoiceKey]] = defaultdict(list)
    for key, choice in choices.items():
        takers[key[0], takes.get(key, choice.taken.tunnels[0])].append(key)
    return {key: sending[end] / len(keys) for end, keys in takers.items() if end in sending for key in keys}
