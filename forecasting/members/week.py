"""Seasonal naive by the week: what was at this time a week ago comes again."""

from forecasting.members.seasonal import SHARED, fit
from forecasting.members.seasonal import start_week as start

__all__ = ["SHARED", "fit", "start"]
