"""The program of a filter finds the packets it is for, and none besides."""

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.ovsdb.label_filters import Instruction, bytecode, inside, program
from stitching.queues import Labelled

MACS = st.integers(0, 2**48 - 1).map(lambda number: number.to_bytes(6, "big").hex(":"))
FLOWS = st.builds(
    Labelled, st.integers(1, 4094), st.none() | st.integers(0, 7), st.none() | MACS, st.none() | MACS
)


def frame(*, vlan_id: int, pcp: int, source: str, target: str) -> bytes:
    macs = bytes.fromhex((target + source).replace(":", ""))
    return (
        macs + bytes.fromhex("8100") + (pcp << 13 | vlan_id).to_bytes(2, "big") + bytes.fromhex("0800") + bytes(46)
    )


def run(steps: tuple[Instruction, ...], packet: bytes) -> int:
    """What the kernel's machine (Documentation/networking/filter.rst) returns for a packet."""
    register, place = 0, 0
    while True:
        code, if_true, if_false, operand = steps[place]
        place += 1
        match code:
            case 0x20 | 0x28:
                register = int.from_bytes(packet[operand : operand + (4 if code == 0x20 else 2)], "big")
            case 0x54:
                register &= operand
            case 0x15:
                place += if_true if register == operand else if_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(code)


@given(FLOWS, st.integers(0, 7), MACS, MACS)
def test_a_packet_of_the_flow_is_found(flow: Labelled, pcp: int, source: str, target: str) -> None:
    pcp = pcp if flow.pcp is None else flow.pcp
    source, target = flow.source_mac or source, flow.target_mac or target
    packet = frame(vlan_id=flow.vlan_id, pcp=pcp, source=source, target=target)
    assert run(program(flow), packet) == 0xFFFFFFFF


@given(FLOWS, st.integers(1, 4094), st.integers(0, 7), MACS, MACS)
def test_another_packet_is_not(flow: Labelled, vlan_id: int, pcp: int, source: str, target: str) -> None:
    same = (
        vlan_id == flow.vlan_id
        and flow.pcp in (None, pcp)
        and flow.source_mac in (None, source)
        and flow.target_mac in (None, target)
    )
    packet = frame(vlan_id=vlan_id, pcp=pcp, source=source, target=target)
    assert run(program(flow), packet) == (0xFFFFFFFF if same else 0)


@given(st.integers(1, 4094), st.integers(0, 7), MACS, MACS)
def test_a_type_is_found_behind_the_tag(vlan_id: int, pcp: int, source: str, target: str) -> None:
    packet = frame(vlan_id=vlan_id, pcp=pcp, source=source, target=target)
    assert run(inside(0x0800), packet) == 0xFFFFFFFF
    assert run(inside(0x88B5), packet) == 0


def test_it_is_written_as_tc_reads_it() -> None:
    assert bytecode(program(Labelled(4094, 2))) == "5,40 0 0 14,84 0 0 61439,21 0 1 20478,6 0 0 4294967295,6 0 0 0"
