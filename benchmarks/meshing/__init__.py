"""The overlay: what is measured of the control channel."""
