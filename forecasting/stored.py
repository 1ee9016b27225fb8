"""A forecaster as bytes and back: arrays and text, nothing that is run when it is read."""

from __future__ import annotations

import io
import json
import zipfile
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
VERSION = 3

# What unpacks to more is no forecaster: 10,000 series take a third of it.
_LARGEST_BYTES = 2**30
_NPY_HEADER_BYTES = 4096

_HEADER = "header"
_REMEDY = "fit again, and store that"


def dumps(forecaster: Forecaster) -> bytes:
    """Give a forecaster as bytes: its settings, what was fitted, and the samples held.

    A NumPy archive (.npz, compressed) of plain arrays; the array `header` is JSON in UTF-8. Raises NoHistory, and
    StoredError for names that are no strings, and for more than 1 GiB of arrays.
    """
    held, parameters = forecaster.history(), forecaster.parameters
    odd = [name for name in held.names if not isinstance(name, str | int)]
    if odd:
        raise StoredError(f"a series is named {odd[0]!r}, which cannot be stored; name series by strings")
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
        "columns": tuple(held.columns),
        "fitted_columns": parameters.columns,
        "fitted": {member: tuple(found) for member, found in parameters.arrays.items()},
    }
    arrays: dict[str, Any] = {
        _HEADER: np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        "times": held.times,
        "values": held.values,
    }
    arrays |= {f"columns/{index}": column for index, column in enumerate(held.columns.values())}
    for member, found in parameters.arrays.items():
        arrays |= {f"parameters/{member}/{field}": array for field, array in found.items()}
    if sum(array.nbytes + _NPY_HEADER_BYTES for array in arrays.values()) > _LARGEST_BYTES:
        raise StoredError("the series held are too many to store together; divide them among several forecasters")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def loads(data: bytes) -> Forecaster:
    """Make the forecaster again; raises StoredError for what is none, is damaged, or is of another version."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Few bytes may claim to be very many.
            if sum(info.file_size for info in archive.infolist()) > _LARGEST_BYTES:
                raise StoredError(f"this unpacks to more than {_LARGEST_BYTES} bytes; {_REMEDY}")
            header = json.loads(_array(archive, _HEADER).tobytes())
            if header["format"] != FORMAT:
                raise StoredError(f"this is no stored forecaster but {header['format']!r}; {_REMEDY}")
            if header["version"] != VERSION:
                stored = f"format {header['version']!r}, this one reads {VERSION}"
                raise StoredError(f"stored by another release ({stored}); {_REMEDY}")
            return _made(header, archive)
    except StoredError:
        raise
    except ForecastingError as error:
        raise StoredError(f"not a stored forecaster, or damaged: {error}; {_REMEDY}") from error
    except Exception as error:  # whatever reading raises, the bytes are at fault
        # What NumPy says of such bytes may advise to open them as pickles, which run code.
        raise StoredError(f"not a stored forecaster, or damaged ({type(error).__name__}); {_REMEDY}") from error


def _array(archive: zipfile.ZipFile, name: str) -> Any:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _made(header: Mapping[str, Any], archive: zipfile.ZipFile) -> Forecaster:
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
    columns = {name: _array(archive, f"columns/{index}") for index, name in enumerate(header["columns"])}
    times, values = _array(archive, "times"), _array(archive, "values")
    panel = Panel(times, values, tuple(header["names"]), header["step_s"], columns)
    found = {
        member: {field: _array(archive, f"parameters/{member}/{field}") for field in fields}
        for member, fields in header["fitted"].items()
    }
    for member, arrays in found.items():
        _check(member, arrays, len(panel.names), forecaster)
    settings = forecaster.settings(panel.step_s)
    forecaster.load(panel, Parameters(panel.names, settings, found, tuple(header["fitted_columns"])))
    return forecaster


def _check(member: str, fields: Mapping[str, Any], n: int, forecaster: Forecaster) -> None:
    if member not in forecaster.members:
        raise StoredError(
            f"member {member!r} was fitted and is not one of {', '.join(forecaster.members)}; {_REMEDY}"
        )
    if not fields or (not kind(member).SHARED and any(array.shape[:1] != (n,) for array in fields.values())):
        raise StoredError(f"what was fitted of {member!r} is not there for {n} series; {_REMEDY}")
