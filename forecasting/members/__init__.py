"""The members of the pool, by name; a module is imported when its member is first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import cast

from forecasting.errors import SettingError
from forecasting.members.member import Arrays, Forgetting, Kind, Member, Sample, Spreading

_MODULES = {
    "last": "forecasting.members.last",
    "ewma": "forecasting.members.ewma",
    "day": "forecasting.members.day",
    "week": "forecasting.members.week",
    "ridge": "forecasting.members.ridge",
    "ets": "forecasting.members.ets",
    "sarimax": "forecasting.members.sarimax",
    "lstm": "forecasting.members.lstm",
    "gru": "forecasting.members.gru",
}

NEURAL = ("lstm", "gru")
MEMBERS = tuple(name for name in _MODULES if name not in NEURAL)
"""Those that need no extra, last value first."""

ALL_MEMBERS = (*MEMBERS, *NEURAL)

__all__ = [
    "ALL_MEMBERS",
    "MEMBERS",
    "NEURAL",
    "Arrays",
    "Forgetting",
    "Kind",
    "Member",
    "Sample",
    "Spreading",
    "chosen",
    "kind",
]


def kind(name: str) -> Kind:
    """Give the module of a member."""
    return cast(Kind, import_module(_MODULES[name]))


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """Give the members asked for, last value first, which is always one of them; raises SettingError."""
    asked = tuple(dict.fromkeys(names))
    unknown = sorted(set(asked) - set(_MODULES))
    if unknown or not asked:
        raise SettingError(f"members {asked}: choose from {', '.join(_MODULES)}")
    return ("last", *(name for name in asked if name != "last"))
