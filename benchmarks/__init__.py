"""Measurements of Lockstitch against its targets, and against peers in the same run."""
