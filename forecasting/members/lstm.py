"""LSTM: one recurrent network for all series; see `recurrent`."""

from forecasting.members.recurrent import LSTM

SHARED = LSTM.SHARED
fit = LSTM.fit
start = LSTM.start
