"""Seasonal naive by the day: what was at this time yesterday comes again."""

from forecasting.members.seasonal import SHARED, fit
from forecasting.members.seasonal import start_day as start

__all__ = ["SHARED", "fit", "start"]
