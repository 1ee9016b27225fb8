"""A lab of sites far from each other: between them lies an internet with uplinks of every kind."""
