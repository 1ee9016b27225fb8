"""What a tunnel can be made of: one contract (contract.py), and an implementation for each transport."""
