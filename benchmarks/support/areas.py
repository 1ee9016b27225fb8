"""The areas: each is a module benchmarks/AREA.py with its measurements in `MEASUREMENTS`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping

import benchmarks
from benchmarks.support.figure import Figure

Measurement = Callable[[], Iterable[Figure]]
"""Takes one or a few figures that belong together. Raises MeasurementFailed, LabUnavailable, OvsError."""


def area_names() -> tuple[str, ...]:
    """The names of all areas."""
    found = pkgutil.iter_modules(benchmarks.__path__)
    return tuple(sorted(module.name for module in found if not module.ispkg and module.name != "__main__"))


def measurements(area: str) -> Mapping[str, Measurement]:
    """What is measured in an area, by name, in order."""
    found: Mapping[str, Measurement] = importlib.import_module(f"benchmarks.{area}").MEASUREMENTS
    return found
