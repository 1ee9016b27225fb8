"""Area `forecasts`: how good forecasts are, whether their intervals hold, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.foreseeing.alarms import nab_alarms
from benchmarks.foreseeing.errors import abilene, abilene_neural, every_set, pool
from benchmarks.foreseeing.scheduled import events
from benchmarks.foreseeing.size import size
from benchmarks.foreseeing.speed import neural_training, period, period_neural, refit
from benchmarks.support.areas import Measurement

MEASUREMENTS: Mapping[str, Measurement] = {
    "abilene": abilene,
    "abilene_neural": abilene_neural,
    "every_set": every_set,
    "pool": pool,
    "events": events,
    "nab_alarms": nab_alarms,
    "refit": refit,
    "neural_training": neural_training,
    "period": period,
    "period_neural": period_neural,
    "size": size,
}
