"""The areas: each is a module benchmarks/AREA.py with its measurements in `MEASUREMENTS`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import benchmarks
from benchmarks.support.figure import Figure

Measurement = Callable[[], Iterable[Figure]]
"""Takes one or a few figures that belong together. Raises MeasurementFailed, LabUnavailable, OvsError."""


def area_names() -> tuple[str, ...]:
    """The names of all areas."""
    found = pkgutil.iter_modules(benchmarks.__path__)
    return tuple(sorted(module.name for module in found if not module.ispkg and module.name != "__main__"))


class NoMeasurement(ValueError):
    """Nothing of that name is measured; the message names what is."""


@dataclass(frozen=True)
class Named:
    """A measurement with its area and its name."""

    area: str
    name: str
    take: Measurement


def chosen(areas: Sequence[str], only: str | None = None) -> list[Named]:
    """Give what is measured in `areas`, in order; with `only` what is called so, or else has that in its name.

    Raises NoMeasurement.
    """
    every = [Named(area, name, take) for area in areas for name, take in measurements(area).items()]
    if only is None:
        return every
    exact = [one for one in every if one.name == only]
    found = exact or [one for one in every if only in one.name]
    if not found:
        raise NoMeasurement(f"nothing is called {only!r}; there is {', '.join(one.name for one in every)}")
    return found


def measurements(area: str) -> Mapping[str, Measurement]:
    """What is measured in an area, by name, in order."""
    found: Mapping[str, Measurement] = importlib.import_module(f"benchmarks.{area}").MEASUREMENTS
    return found
