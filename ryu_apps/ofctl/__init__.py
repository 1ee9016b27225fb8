"""Ryu's REST paths (ofctl_rest and rest_topology) on our controller: old scripts and labs keep working."""
