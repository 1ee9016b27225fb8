"""What the area `paths` measures."""
