"""The northbound API: everything under /v1."""
