"""Forecasts on the command line: series in files, back-tests of them, and pictures of forecasts."""
