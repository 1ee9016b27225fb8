"""The committed baseline: figures to be held against, with an alarm where one got worse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.support.figure import Better, Figure

PATH = Path(__file__).parents[1] / "baseline.json"

TOLERANCE = 0.3
"""The share by which a figure may be worse before it is an alarm."""


def load(path: Path = PATH) -> dict[str, dict[str, float]]:
    """The baseline by figure name: {"value"} and, where there is a peer, {"ratio"}; empty when there is none."""
    if not path.exists():
        return {}
    baseline: dict[str, dict[str, float]] = json.loads(path.read_text())
    return baseline


def alarm(figure: Figure, baseline: Mapping[str, Mapping[str, float]]) -> str | None:
    """What got worse, or None. A ratio is compared where there is one: it says less about the machine."""
    before = baseline.get(figure.name)
    if before is None:
        return None
    what, now = (
        ("value", figure.value) if figure.ratio is None or "ratio" not in before else ("ratio", figure.ratio)
    )
    then = before[what]
    limit = then * (1 - TOLERANCE if figure.better is Better.MORE else 1 + TOLERANCE)
    worse = now < limit if figure.better is Better.MORE else now > limit
    return f"ALARM {figure.name}: {what} {now:.4g}, was {then:.4g} in the baseline" if worse else None


def save(figures: list[Figure], path: Path = PATH) -> None:
    """Make these figures the baseline; those of figures not among them stay."""
    baseline = load(path)
    for figure in figures:
        entry = {"value": float(f"{figure.value:.4g}")}
        if figure.ratio is not None:
            entry["ratio"] = float(f"{figure.ratio:.4g}")
        baseline[figure.name] = entry
    path.write_text(json.dumps(baseline, indent=2, sort_keys=True) + "\n")
