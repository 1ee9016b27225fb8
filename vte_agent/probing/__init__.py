"""Whether tunnels are alive, each direction on its own, and how well they do."""
