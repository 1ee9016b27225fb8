"""The measurements of area `controller`."""
