"""The parts of the OpenFlow channel: a switch that is connected, and the messages in what it sends."""
