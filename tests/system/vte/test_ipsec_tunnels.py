"""IPsec tunnels, by strongSwan, do what every transport has to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.vte.ipsec_world import IpsecWorld
from tests.tunnel_contract import SECRET, DeviceContract, age_s, connect, create, eventually, join, peer, shaken
from vte_agent.tunnels.contract import PeerEnd, TunnelFailed


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpsecWorld]:
    world = IpsecWorld(tmp_path_factory.mktemp("ipsec"))
    yield world
    world.close()


@pytest.fixture
def world(wire: IpsecWorld) -> Iterator[IpsecWorld]:
    yield wire
    wire.clear()


class TestIpsecTunnels(DeviceContract):
    pass


def test_the_next_run_of_the_agent_leaves_charon_as_it_is(world: IpsecWorld) -> None:
    join(world, "t")
    before = world.nodes[0].charon()
    world.next_run(0)
    with world.at(0) as tunnels:
        tunnels.create(world.spec(0, "t"))
    assert world.nodes[0].charon() == before


def test_a_secret_that_cannot_be_is_refused_with_the_reason_and_without_it(world: IpsecWorld) -> None:
    ends = create(world, "t")
    endpoint = peer(world, 1, "t", ends[1]).endpoint
    for secret, why in ((bytes(32), "all zero"), (SECRET[:31], "32 bytes")):
        with world.at(0) as tunnels, pytest.raises(TunnelFailed, match=why) as caught:
            tunnels.connect(world.spec(0, "t"), PeerEnd(None, secret, endpoint))
        assert SECRET.hex()[:8] not in repr(caught.value)
    assert join(world, "t") == ends


def test_a_charon_that_was_killed_is_noticed_and_started_again(world: IpsecWorld) -> None:
    ends = join(world, "t")
    join(world, "other")
    world.nodes[0].kill()
    with world.at(0) as tunnels:
        assert eventually(lambda: not tunnels.read(), 1.0)
        assert len(tunnels.found()) == 2
        # The one that is not made again is not taken for alive.
        assert tunnels.create(world.spec(0, "t")) == ends[0]
        assert set(tunnels.read()) == {world.spec(0, "t").device}
    connect(world, 0, "t", peer(world, 1, "t", ends[1]))
    assert shaken(world, "t")
    assert world.passes(1, world.spec(1, "t"), 100)


def test_another_secret_ends_what_the_old_one_began(world: IpsecWorld) -> None:
    ends = join(world, "t")
    other = bytes(reversed(SECRET))
    for node in (1, 0):
        connect(world, node, "t", peer(world, 1 - node, "t", ends[1 - node], other))
    assert shaken(world, "t")
    connect(world, 0, "t", peer(world, 1, "t", ends[1]))
    assert eventually(lambda: age_s(world, 0, "t") is None)
    join(world, "other")
    assert age_s(world, 0, "t") is None and age_s(world, 1, "t") is None


def test_what_keeps_clear_text_out_is_back_with_the_next_look_after_a_flush(world: IpsecWorld) -> None:
    join(world, "t")
    node = world.nodes[0]
    before = node.run("nft", "list", "ruleset")
    assert "table inet lockstitch_ipsec {" in before
    node.run("nft", "flush", "ruleset")
    with world.at(0) as tunnels:
        assert tunnels.read()
    assert node.run("nft", "list", "ruleset") == before
