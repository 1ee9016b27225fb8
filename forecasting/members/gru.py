"""GRU: one recurrent network for all series; see `recurrent`."""

from forecasting.members.recurrent import GRU

SHARED = GRU.SHARED
fit = GRU.fit
start = GRU.start
