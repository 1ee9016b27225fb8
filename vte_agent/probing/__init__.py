"""Whether tunnels are alive, each direction on its own, how well they do, and what they have room for."""
