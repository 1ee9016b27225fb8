"""Filters that tell packets by the label they carry: classic BPF for tc, on the bytes of the frame.

What u32 calls the beginning of a packet lies before the tag on some kernels and behind it on others; here
positions count from the Ethernet header. The userspace datapath sends the tag as a part of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence

from stitching.queues import Labelled

_LOAD_WORD, _LOAD_HALF, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x28, 0x54, 0x15, 0x06
_TARGET_AT, _SOURCE_AT, _TAG_AT, _INNER_TYPE_AT = 0, 6, 14, 16
_ID_BITS, _PCP_SHIFT, _PCP_BITS = 0x0FFF, 13, 0xE000
_MATCHES, _DOES_NOT = 0xFFFFFFFF, 0

Instruction = tuple[int, int, int, int]


def program(flow: Labelled) -> tuple[Instruction, ...]:
    """The instructions (code, jump if true, jump if false, operand) that find these packets among tagged ones."""
    mask = _ID_BITS if flow.pcp is None else _ID_BITS | _PCP_BITS
    tag = flow.vlan_id if flow.pcp is None else flow.vlan_id | flow.pcp << _PCP_SHIFT
    found: list[tuple[int, int]] = [(_LOAD_HALF, _TAG_AT), (_AND, mask), (_JUMP_IF_EQUAL, tag)]
    for mac, at in ((flow.target_mac, _TARGET_AT), (flow.source_mac, _SOURCE_AT)):
        if mac is not None:
            number = int(mac.replace(":", ""), 16)
            found += [(_LOAD_WORD, at), (_JUMP_IF_EQUAL, number >> 16)]
            found += [(_LOAD_HALF, at + 4), (_JUMP_IF_EQUAL, number & 0xFFFF)]
    return _all_of(found)


def inside(eth_type: int) -> tuple[Instruction, ...]:
    """The instructions that find packets of this EtherType behind one tag."""
    return _all_of([(_LOAD_HALF, _INNER_TYPE_AT), (_JUMP_IF_EQUAL, eth_type)])


def _all_of(found: Sequence[tuple[int, int]]) -> tuple[Instruction, ...]:
    """A program that matches where no comparison fails."""
    end = len(found) + 1
    steps = [
        (code, 0, end - place - 1 if code == _JUMP_IF_EQUAL else 0, operand)
        for place, (code, operand) in enumerate(found)
    ]
    return (*steps, (_RETURN, 0, 0, _MATCHES), (_RETURN, 0, 0, _DOES_NOT))


def bytecode(steps: Sequence[Instruction]) -> str:
    """A program as `tc filter ... bpf bytecode` takes it."""
    return ",".join([str(len(steps)), *(" ".join(map(str, step)) for step in steps)])
