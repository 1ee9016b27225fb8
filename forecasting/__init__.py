"""Forecasts: past samples in, quantiles and probabilities out. No I/O, no clock, no threads."""

from forecasting.calendar import Calendar, Event, events_from_rows
from forecasting.errors import (
    ForecastingError,
    NoHistory,
    PanelError,
    SettingError,
    StoredError,
    UnknownSeries,
)
from forecasting.forecast import DEFAULT_LEVELS, Forecast
from forecasting.forecaster import Forecaster
from forecasting.members import ALL_MEMBERS, MEMBERS, NEURAL
from forecasting.panel import Panel
from forecasting.parameters import Parameters, fit_parameters
from forecasting.settings import Settings
from forecasting.stored import dumps, loads

__all__ = [
    "ALL_MEMBERS",
    "DEFAULT_LEVELS",
    "MEMBERS",
    "NEURAL",
    "Calendar",
    "Event",
    "Forecast",
    "Forecaster",
    "ForecastingError",
    "NoHistory",
    "Panel",
    "PanelError",
    "Parameters",
    "SettingError",
    "Settings",
    "StoredError",
    "UnknownSeries",
    "dumps",
    "events_from_rows",
    "fit_parameters",
    "loads",
]
