"""The controller's side of the overlay: who gets in, and the channel to the agents."""
