"""Packet marks of the agent: eight bits, so that what others keep in the rest of a mark is left as it is."""

from __future__ import annotations

from vte_agent.protocol.wanted import CLASS_NUMBERS

MASK = 0x00FF0000
"""Bits of a packet's mark that are the agent's; all others belong to somebody else."""

_SHIFT = 16

BYPASS = 0xFF << _SHIFT
"""On packets that no table of the agent may route: outer ones of tunnels, probes, those to the controller."""

UPLINKS = 15
UPLINK_MASK = UPLINKS << 24
"""Four more bits, on outer packets of tunnels only: the uplink that they leave by."""


def class_mark(number: int) -> int:
    """The mark of packets of a class (`WantedClass.number`); raises ValueError."""
    if not 1 <= number <= CLASS_NUMBERS:
        raise ValueError(f"a class has a number from 1 to {CLASS_NUMBERS}, not {number}")
    return number << _SHIFT


def outer_mark(uplink: int) -> int:
    """The mark of a tunnel's outer packets, by the number of its uplink (from 1); raises ValueError."""
    if not 1 <= uplink <= UPLINKS:
        raise ValueError(f"an uplink has a number from 1 to {UPLINKS}, not {uplink}")
    return BYPASS | uplink << 24
