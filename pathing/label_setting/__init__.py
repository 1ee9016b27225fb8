"""Exact search for the lightest path under limits on several sums and with nodes and links that it must take."""
