"""What the area `forecasts` measures."""
