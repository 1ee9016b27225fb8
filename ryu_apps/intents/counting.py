"""How much of each transfer was carried in its window, by the counters of switches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ryu_apps.events import Rates
from stitching.intents.document import Document, Transfer
from stitching.intents.resolving import resolve
from stitching.intents.transfers import occurrence
from stitching.intents.wanted import key_of
from stitching.intents.world import Progress, World, is_ours
from stitching.policy.faults import Refused
from stitching.stitch import Stitch


def counted(
    progress: Mapping[str, Progress], document: Document, world: World, stitches: Iterable[Stitch], rates: Rates
) -> dict[str, Progress]:
    """The progress of transfers after another period.

    Of one with an application, what its stitch carried; else all that its hosts sent each other, on any path.
    """
    carriers = {key_of(stitch.request)[0]: stitch.id for stitch in stitches if is_ours(stitch)}
    after = dict(progress)
    for name, known in progress.items():
        intent = document.named(name)
        if intent is None or not isinstance(intent.form, Transfer):
            continue
        window = occurrence(intent.form.window, rates.time_s)
        if window is None or window[1] != known.deadline_s or rates.time_s < window[0]:
            continue
        if intent.form.application is not None:
            mbps = rates.stitch_mbps.get(carriers.get(name, 0), 0.0)
        else:
            mbps = rates.demand_mbps.get(_pair(intent.form, world), 0.0)
        if mbps > 0:
            after[name] = replace(known, carried_mbit=known.carried_mbit + mbps * rates.period_s)
    return after


def _pair(form: Transfer, world: World) -> tuple[str, str]:
    try:
        ends = [resolve(end, world, "from").macs for end in (form.source, form.target)]
    except Refused:
        return "", ""
    return (ends[0][0], ends[1][0]) if all(len(macs) == 1 for macs in ends) else ("", "")
