"""Paths and plans of a network in a file, on the command line; asks no controller."""
