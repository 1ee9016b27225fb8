"""The agent of one site: tunnels, routes and probes, kept as the controller wants them and without it."""
