"""A forecaster as bytes and back: arrays and text, nothing that is run when it is read."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from forecasting.calendar import Calendar, Event
from forecasting.errors import ForecastingError, StoredError
from forecasting.forecaster import Forecaster
from forecasting.members import kind
from forecasting.panel import Panel
from forecasting.parameters import Parameters

FORMAT = "lockstitch forecaster"
VERSION = 2

# Whatever a damaged archive makes numpy, zipfile or json raise, its bytes are at fault.
_BROKEN = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError),
    *(OSError, EOFError, MemoryError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error),
)

_HEADER = "header"
_REMEDY = "fit again, and store that"


def dumps(forecaster: Forecaster) -> bytes:
    """Give a forecaster as bytes: its settings, what was fitted, and the samples held. Raises NoHistory.

    A NumPy archive (.npz, compressed) of plain arrays; the array `header` is JSON in UTF-8.
    """
    held, parameters = forecaster.history(), forecaster.parameters
    header = {
        "format": FORMAT,
        "version": VERSION,
        "horizon": forecaster.horizon,
        "levels": forecaster.levels,
        "members": forecaster.members,
        "seed": forecaster.seed,
        "replayed": forecaster.replayed,
        "calendar": asdict(forecaster.calendar),
        "names": held.names,
        "step_s": held.step_s,
        "fitted": parameters.members,
    }
    arrays: dict[str, Any] = {
        _HEADER: np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        "times": held.times,
        "values": held.values,
    }
    arrays |= {f"columns/{name}": column for name, column in held.columns.items()}
    for member, found in parameters.arrays.items():
        arrays |= {f"parameters/{member}/{field}": array for field, array in found.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def loads(data: bytes) -> Forecaster:
    """Make the forecaster again; raises StoredError for what is none, is damaged, or is of another version."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
        if header["format"] != FORMAT:
            raise StoredError(f"this is no stored forecaster but {header['format']!r}; {_REMEDY}")
        if header["version"] != VERSION:
            raise StoredError(
                f"stored by another release (format {header['version']!r}, this one reads {VERSION}); {_REMEDY}"
            )
        return _made(header, arrays)
    except ForecastingError as error:
        if isinstance(error, StoredError):
            raise
        raise StoredError(f"not a stored forecaster, or damaged: {error}; {_REMEDY}") from error
    except _BROKEN as error:
        # What NumPy says of such bytes may advise to open them as pickles, which run code.
        raise StoredError(f"not a stored forecaster, or damaged ({type(error).__name__}); {_REMEDY}") from error


def _made(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> Forecaster:
    calendar = dict(header["calendar"])
    calendar["events"] = tuple(Event(**event) for event in calendar["events"])
    forecaster = Forecaster(
        header["horizon"],
        levels=header["levels"],
        members=header["members"],
        calendar=Calendar(**calendar),
        seed=header["seed"],
        replayed=header["replayed"],
    )
    columns = {
        name.removeprefix("columns/"): array for name, array in arrays.items() if name.startswith("columns/")
    }
    panel = Panel(arrays["times"], arrays["values"], tuple(header["names"]), header["step_s"], columns)
    found: dict[str, dict[str, Any]] = {member: {} for member in header["fitted"]}
    for name, array in arrays.items():
        if name.startswith("parameters/"):
            _, member, field = name.split("/", 2)
            found[member][field] = array
    settings = forecaster.settings(panel.step_s)
    for member, fields in found.items():
        _check(member, fields, len(panel.names), forecaster)
    forecaster.load(panel, Parameters(panel.names, settings, found))
    return forecaster


def _check(member: str, fields: Mapping[str, Any], n: int, forecaster: Forecaster) -> None:
    if member not in forecaster.members:
        raise StoredError(
            f"member {member!r} was fitted and is not one of {', '.join(forecaster.members)}; {_REMEDY}"
        )
    if not fields or (not kind(member).SHARED and any(array.shape[:1] != (n,) for array in fields.values())):
        raise StoredError(f"what was fitted of {member!r} is not there for {n} series; {_REMEDY}")
