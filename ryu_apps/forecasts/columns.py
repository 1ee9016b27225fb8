"""A CSV file with a column of times and columns of numbers, read in pieces: ten million rows fit in memory."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
import numpy.typing as npt

from ryu_apps.forecasts.clock import MOST_VALUES
from ryu_apps.forecasts.errors import BadSeries

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FORMAT = "give a CSV file whose first line names the columns, such as time,value; times ISO 8601 or since 1970"
_TIME_NAMES = ("time", "timestamp", "datetime", "date", "ts", "epoch", "time_s", "unix")
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})
_ROWS_A_PIECE = 100_000
_LINE_MAX = 2**20
_COLUMNS_MAX = 20_000
# Seconds until the year 2286. Larger numbers count milliseconds, then micro-, then nanoseconds.
_SECONDS_MAX = 1e10
_UNREADABLE = (OSError, EOFError, zlib.error, UnicodeError, csv.Error)


class _Rows(Protocol):
    """What csv.reader gives."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, eq=False)
class Columns:
    """`times` (k,) in seconds since 1970 and `values` (columns, k) as in the file, NaN where missing.

    `unreadable` (columns,) cells were no numbers; `undated` rows had no time and were left out. `text` names the
    columns that were left out because they hold no number at all.
    """

    times: FloatArray
    values: FloatArray
    names: tuple[str, ...]
    unreadable: IntArray
    undated: int = 0
    text: tuple[str, ...] = ()


@dataclass
class _Pieces:
    """What was read so far; `unreadable` (columns,) cells were no numbers."""

    unreadable: IntArray
    times: list[FloatArray] = field(default_factory=list)
    values: list[FloatArray] = field(default_factory=list)
    rows: int = 0


def read_columns(path: Path, wanted: Sequence[str] = ()) -> Columns:
    """Read the columns `wanted`, or all that hold numbers, of a CSV file, plain or gzipped. Raises BadSeries."""
    try:
        with _rows(path) as rows:
            header = [name.strip() for name in next(rows, [])]
            time_at, places = _places(path, header, wanted)
            pieces = _read(path, rows, time_at, places)
    except BadSeries:
        raise
    except _UNREADABLE as error:
        raise BadSeries(path, f"cannot be read ({type(error).__name__}: {error})", FORMAT) from error
    if pieces.rows == 0:
        raise BadSeries(path, "has no rows behind the first line", FORMAT)
    times, values = np.concatenate(pieces.times), np.concatenate(pieces.values, axis=1)
    times = _in_seconds(times)
    dated = np.isfinite(times)
    if not dated.any():
        raise BadSeries(path, f"nothing in column {header[time_at]!r} is a time", FORMAT)
    if not dated.all():
        times, values = times[dated], values[:, dated]
    names = [header[place] for place in places]
    return _without_text(
        path, wanted, Columns(times, values, tuple(names), pieces.unreadable, int((~dated).sum()))
    )


def read_rows(path: Path, names: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read the columns `names` of a small CSV file as they stand: a row each, and its line in the file.

    Names in the first line may be written in any case. Raises BadSeries.
    """
    remedy = f"give a CSV file whose first line is {','.join(names)}"
    try:
        with _rows(path) as rows:
            header = [name.strip().casefold() for name in next(rows, [])]
            _require_names(path, header, names, remedy)
            found = [
                (rows.line_num, dict(zip(header, row, strict=False)))
                for row in islice(rows, _ROWS_A_PIECE + 1)
                if any(row)
            ]
    except _UNREADABLE as error:
        raise BadSeries(path, f"cannot be read ({type(error).__name__}: {error})", remedy) from error
    if len(found) > _ROWS_A_PIECE:
        raise BadSeries(path, f"has more than {_ROWS_A_PIECE} rows", "give fewer")
    return found


def _require_names(path: Path, header: list[str], names: Sequence[str], remedy: str) -> None:
    missing = [name for name in names if name not in header]
    if not any(header) or not missing:
        return
    if any(_is_number(cell) or not np.isnan(_moment(cell)) for cell in header):
        raise BadSeries(path, f"has no header: its first line starts with {header[0]!r}", remedy)
    raise BadSeries(path, f"has no column {missing[0]}, only {', '.join(header[:12])}", remedy)


@contextmanager
def _rows(path: Path) -> Iterator[_Rows]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    # utf-8-sig: spreadsheets put a mark in front that would be taken for a part of the first name.
    encoding = "utf-8-sig"
    with gzip.open(path, "rt", encoding=encoding) if packed else path.open(encoding=encoding) as file:
        lines = _lines(path, file)
        first = next(lines, "")
        delimiter = max(",;\t", key=first.count)
        yield csv.reader(_with(first, lines), delimiter=delimiter)


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    while line := file.readline(_LINE_MAX):
        if len(line) == _LINE_MAX:
            raise BadSeries(path, f"has a line of more than {_LINE_MAX} characters", FORMAT)
        yield line


def _with(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _places(path: Path, header: list[str], wanted: Sequence[str]) -> tuple[int, list[int]]:
    """Where the times stand, and where the columns to read do."""
    if not any(header):
        raise BadSeries(path, "is empty", FORMAT)
    if len(header) > _COLUMNS_MAX:
        raise BadSeries(path, f"has {len(header)} columns", f"give {_COLUMNS_MAX} or fewer")
    if len(set(header)) != len(header):
        double = next(name for name in header if header.count(name) > 1)
        raise BadSeries(path, f"has two columns {double!r}", "give each column a name of its own")
    if _is_number(header[0]) or not np.isnan(_moment(header[0])):
        raise BadSeries(
            path, f"has no header: its first line starts with {header[0]!r} and names no columns", FORMAT
        )
    folded = [name.casefold() for name in header]
    time_at = next((folded.index(name) for name in _TIME_NAMES if name in folded), 0)
    values = [place for place in range(len(header)) if place != time_at]
    if not values:
        raise BadSeries(path, f"has only the column {header[0]!r}", FORMAT)
    has = ", ".join(header[place] for place in values[:12])
    for name in wanted:
        if name not in header or header.index(name) == time_at:
            raise BadSeries(path, f"has no column {name!r} of values", f"it has {has}")
    return time_at, [header.index(name) for name in dict.fromkeys(wanted)] if wanted else values


def _read(path: Path, rows: Iterator[list[str]], time_at: int, places: list[int]) -> _Pieces:
    pieces = _Pieces(np.zeros(len(places), dtype=np.int64))
    width = max(time_at, *places) + 1
    size = max(1, _ROWS_A_PIECE // len(places))
    while piece := list(islice(rows, size)):
        # Rows that are cut short have no value at their end.
        full = [row if len(row) >= width else row + [""] * (width - len(row)) for row in piece if row]
        if not full:
            continue
        if (pieces.rows + len(full)) * (len(places) + 1) > MOST_VALUES:
            raise BadSeries(path, f"holds more than {MOST_VALUES} numbers", "name fewer columns, or cut the file")
        pieces.rows += len(full)
        pieces.times.append(_times([row[time_at] for row in full]))
        block = np.empty((len(places), len(full)))
        for index, place in enumerate(places):
            block[index], wrong = _numbers([row[place] for row in full])
            pieces.unreadable[index] += wrong
        pieces.values.append(block)
    return pieces


def _numbers(cells: list[str]) -> tuple[FloatArray, int]:
    """The numbers in cells, NaN for none, and how many cells hold something else."""
    try:
        return np.array([float(cell) for cell in cells]), 0
    except ValueError:
        pass
    values, wrong = np.full(len(cells), np.nan), 0
    for index, cell in enumerate(cells):
        try:
            values[index] = float(cell)
        except ValueError:
            wrong += cell.strip().casefold() not in _MISSING
    return values, wrong


def _times(cells: list[str]) -> FloatArray:
    """Times as they stand: ISO 8601 becomes seconds since 1970, numbers stay numbers; NaN for neither."""
    moments: FloatArray = np.full(len(cells), np.nan)
    if not _is_number(cells[0]):
        moments = np.array([_moment(cell) for cell in cells])
        if 2 * np.count_nonzero(np.isfinite(moments)) >= len(cells):
            return moments
    values, wrong = _numbers(cells)
    return values if 2 * wrong <= len(cells) else moments


def _moment(cell: str) -> float:
    """Seconds since 1970 of an ISO 8601 time, UTC where it says nothing; NaN for none."""
    try:
        moment = datetime.fromisoformat(cell.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return np.nan


def _in_seconds(times: FloatArray) -> FloatArray:
    """Times in the unit that makes them times of this age; NaN for what is none."""
    known = times[np.isfinite(times)]
    # The middle of two huge numbers is infinite, which is no time either.
    with np.errstate(over="ignore"):
        typical = float(np.median(np.abs(known))) if known.size else 0.0
    unit = next((unit for unit in (1.0, 1e3, 1e6, 1e9) if typical <= _SECONDS_MAX * unit), 1.0)
    seconds = times / unit
    return np.where(np.abs(seconds) <= _SECONDS_MAX, seconds, np.nan)


def _without_text(path: Path, wanted: Sequence[str], columns: Columns) -> Columns:
    """Leave out the columns without a number, unless somebody asked for them."""
    filled = np.asarray(np.isfinite(columns.values).any(axis=1))
    empty = tuple(name for name, has in zip(columns.names, filled.tolist(), strict=True) if not has)
    if len(empty) == len(columns.names) or any(name in wanted for name in empty):
        raise BadSeries(path, f"no number in column {empty[0]!r}", FORMAT)
    if not empty:
        return columns
    names = tuple(name for name in columns.names if name not in empty)
    return Columns(
        columns.times, columns.values[filled], names, columns.unreadable[filled], columns.undated, empty
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
