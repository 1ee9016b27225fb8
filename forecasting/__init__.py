"""Forecasts: past samples in, quantiles and probabilities out. No I/O, no clock, no threads."""

from forecasting.errors import ForecastingError, NoHistory, PanelError, SettingError, UnknownSeries
from forecasting.forecast import DEFAULT_LEVELS, Forecast
from forecasting.forecaster import Forecaster
from forecasting.panel import Panel
from forecasting.parameters import MEMBERS, Parameters, fit_parameters
from forecasting.sarimax import FitStatus

__all__ = [
    "DEFAULT_LEVELS",
    "MEMBERS",
    "FitStatus",
    "Forecast",
    "Forecaster",
    "ForecastingError",
    "NoHistory",
    "Panel",
    "PanelError",
    "Parameters",
    "SettingError",
    "UnknownSeries",
    "fit_parameters",
]
