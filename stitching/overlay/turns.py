"""Which tunnels are replaced next: at each site a few at a time, and the oldest first.

Making a tunnel takes a machine some time. With all of them made anew at once, and keys to be young, those that are
due again would be made before others have been made at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2s

from stitching.overlay.tunnels import Line, LineState, Phase, TunnelSpec, line_name


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A line whose tunnel is to have another version, and why. They sort by who comes first.

    What was asked for comes before what is merely old; last where an end is away, as there is only waiting.
    """

    by_age: bool
    down: bool
    made_at_s: float
    line: Line
    why: str


def in_turn(due: Iterable[Due], states: Iterable[LineState], at_once: int) -> Iterator[Due]:
    """Those whose turn it is now. `at_once`: beside so many tunnels of a site another one may be coming."""
    busy = Counter(
        serial
        for state in states
        if state.of(Phase.ACTIVE) is not None and (coming := state.of(Phase.COMING)) is not None
        for serial in coming.line.pair
    )
    for one in sorted(due):
        if all(busy[serial] < at_once for serial in one.line.pair):
            busy.update(one.line.pair)
            yield one


def earlier(line: Line) -> float:
    """From 0.9 to 1.0, the same for a line at all times: keys made together are not all replaced together."""
    return 0.9 + 0.1 * blake2s(line_name(line).encode(), digest_size=2).digest()[0] / 255


def what_changed(before: TunnelSpec, after: TunnelSpec) -> str:
    """Why a version with another spec is made."""
    if before.epoch != after.epoch:
        return "its keys are to be new"
    if before.mtu != after.mtu:
        return f"its MTU is to be {after.mtu or 'what probing finds'}"
    return "it is to be probed in another way"
