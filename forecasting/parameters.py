"""What a fit finds: arrays of plain numbers for each member, small enough to send from process to process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, replace

import numpy as np

from forecasting.errors import SettingError
from forecasting.members import Arrays, chosen, kind
from forecasting.panel import Panel
from forecasting.settings import Settings

# Small enough that a pool stays busy to the end, large enough that starting a task costs nothing beside it.
_SERIES_PER_TASK = 16

_REMEDY = "fit again for this forecaster"

Progress = Callable[[int, int], None]
"""Called with how many parts of a fit are done, and how many there are."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """The fitted members of n series.

    `arrays` are by member. Those of a member with one model for all series have no axis of series; all others
    have it first. `columns` are the names of the panel's columns, in the order in which members had them.
    """

    names: tuple[str, ...]
    settings: Settings
    arrays: Mapping[str, Arrays]
    columns: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """The members, last value first."""
        return tuple(self.arrays)

    def aligned(self, names: Sequence[str]) -> Parameters:
        """Give the parameters for `names` in that order; a series that was not fitted gets those of last value."""
        if tuple(names) == self.names:
            return self
        row = {name: index for index, name in enumerate(self.names)}
        rows = np.array([row.get(name, len(self.names)) for name in names], dtype=np.intp)
        blank = unfitted(("",), self.settings, self.members, self.columns)
        return replace(
            self,
            names=tuple(names),
            arrays={
                member: arrays
                if kind(member).SHARED
                else {
                    field: np.concatenate([array, blank.arrays[member][field]])[rows]
                    for field, array in arrays.items()
                }
                for member, arrays in self.arrays.items()
            },
        )

    def check(self, settings: Settings, members: Sequence[str], columns: Iterable[str]) -> None:
        """Raise SettingError when these are not for `settings`, `members` and panels with `columns` in any order.

        A member with one model for all series may be missing, for want of a fit.
        """
        for name in ("horizon", "step_s", "calendar", "seed"):
            fitted, wanted = getattr(self.settings, name), getattr(settings, name)
            if fitted != wanted:
                values = "" if name == "calendar" else f" ({fitted} there, {wanted} here)"
                raise SettingError(f"the parameters were fitted with another {name}{values}; {_REMEDY}")
        needed = {member for member in members if not kind(member).SHARED}
        for what, odd in (
            ("members that this forecaster has not", set(self.members) - set(members)),
            ("no parameters for the members", needed - set(self.members)),
            ("columns that the panel has not", set(self.columns) - set(columns)),
            ("nothing on the panel's columns", set(columns) - set(self.columns)),
        ):
            if odd:
                raise SettingError(
                    f"the parameters have {what}: {', '.join(sorted(odd))}; {_REMEDY} and its columns"
                )


def unfitted(
    names: Sequence[str], settings: Settings, members: Sequence[str], columns: Iterable[str] = ()
) -> Parameters:
    """Give parameters as of series without a sample. Members with one model for all are left out."""
    blank = {name: np.full(1, np.nan) for name in columns}
    panel = Panel(np.zeros(1), np.full((len(names), 1), np.nan), tuple(names), settings.step_s, blank)
    return Parameters(
        tuple(names),
        settings,
        {member: kind(member).fit(panel, settings) for member in members if not kind(member).SHARED},
        tuple(blank),
    )


def fit_parameters(
    panel: Panel,
    settings: Settings,
    members: Sequence[str],
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Parameters:
    """Fit every member, and last value, to every series of `panel`.

    With an `executor` that is done there in chunks of series, and this waits; with a spawned process pool that
    gives the same result as without. Raises SettingError for unknown members, and what the executor raises when
    its workers die; what was not begun then is cancelled.
    """
    members = chosen(members)
    parts = list(_parts(panel, members))
    results: list[dict[str, Arrays]] = [{} for _ in parts]
    if executor is None:
        for number, (part, names) in enumerate(parts):
            results[number] = fit_members(part, settings, names)
            _tell(progress, number + 1, len(parts))
    else:
        tasks: dict[Future[dict[str, Arrays]], int] = {}
        try:
            for number, (part, names) in enumerate(parts):
                tasks[executor.submit(fit_members, part, settings, names)] = number
            for done, task in enumerate(as_completed(tasks)):
                results[tasks[task]] = task.result()
                _tell(progress, done + 1, len(parts))
        finally:
            # After a failure nobody waits for the others.
            for task in tasks:
                task.cancel()
    joined = {member: _joined(member, results) for member in members}
    return Parameters(panel.names, settings, joined, tuple(panel.columns))


def fit_members(panel: Panel, settings: Settings, members: Sequence[str]) -> dict[str, Arrays]:
    """Fit some members to some series: what a worker does, so it is picklable and takes all it needs."""
    return {member: kind(member).fit(panel, settings) for member in members}


def _parts(panel: Panel, members: Sequence[str]) -> Iterator[tuple[Panel, tuple[str, ...]]]:
    """The longest task first: each member with one model for all series, then the others by chunks of series."""
    for member in members:
        if kind(member).SHARED:
            yield panel, (member,)
    own = tuple(member for member in members if not kind(member).SHARED)
    for start in range(0, max(len(panel.names), 1), _SERIES_PER_TASK):
        yield panel.rows(slice(start, start + _SERIES_PER_TASK)), own


def _joined(member: str, results: Sequence[Mapping[str, Arrays]]) -> Arrays:
    found = [result[member] for result in results if member in result]
    if len(found) == 1:
        return found[0]
    return {field: np.concatenate([arrays[field] for arrays in found]) for field in found[0]}


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
