"""IPsec tunnels, by strongSwan, between two network namespaces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.vte.ipsec_world import IpsecWorld
from tests.tunnel_contract import (
    SECRET,
    TunnelContract,
    World,
    age_s,
    connect,
    create,
    eventually,
    join,
    peer,
    shaken,
)
from vte_agent.protocol.wanted import Endpoint
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


class TestIpsec(TunnelContract):
    """As all transports do; but keys there are none, ages are whole seconds, and all tunnels have one process."""

    def test_the_next_run_takes_a_tunnel_over_as_it_is(self, world: World) -> None:
        ends = join(world, "t")
        before = world.nodes[0].charon()
        for node in (0, 1):
            world.next_run(node)
            with world.at(node) as tunnels:
                assert world.spec(node, "t").device in tunnels.found()
                assert tunnels.read()[world.spec(node, "t").device].handshake_age_s is not None
                assert tunnels.create(world.spec(node, "t")) == ends[node]
            connect(world, node, "t", peer(world, 1 - node, "t", ends[1 - node]))
            assert age_s(world, node, "t") is not None
        assert world.nodes[0].charon() == before
        assert world.passes(0, world.spec(0, "t"), 100)

    def test_a_peer_that_cannot_be_is_refused_with_the_reason_and_without_the_secret(self, world: World) -> None:
        ends = create(world, "t")
        endpoint = peer(world, 1, "t", ends[1]).endpoint
        for secret, why in ((bytes(32), "all zero"), (SECRET[:31], "32 bytes")):
            with world.at(0) as tunnels, pytest.raises(TunnelFailed, match=why) as caught:
                tunnels.connect(world.spec(0, "t"), PeerEnd(None, secret, endpoint))
            assert SECRET.hex()[:8] not in repr(caught.value)
        assert join(world, "t") == ends

    def test_what_died_is_not_among_the_living_and_can_be_made_again(self, world: World) -> None:
        join(world, "t")
        join(world, "other")
        world.kill(0, world.spec(0, "t").device)
        with world.at(0) as tunnels:
            assert eventually(lambda: not tunnels.read(), 1.0)
            assert len(tunnels.found()) == 2
            end = tunnels.create(world.spec(0, "t"))
            assert set(tunnels.read()) == {world.spec(0, "t").device}
        far = PeerEnd(None, SECRET, Endpoint(address=world.spec(1, "t").local, port=end.port))
        connect(world, 0, "t", far)
        assert shaken(world, "t")
        assert world.passes(1, world.spec(1, "t"), 100)

    test_who_has_a_key_without_the_other_end_knowing_it_gets_no_handshake = None
    test_an_end_that_moves_is_followed = None
    test_where_the_other_end_moved_to_outlives_the_next_run = None
