"""Labs: topologies on real Open vSwitch bridges, links with delay and loss, traffic replay, the demo."""
