"""What forwarding tells: which virtual networks there are."""

from __future__ import annotations

from dataclasses import dataclass

from ryu_apps.app import Event, Request
from stitching.vnet import VNet


@dataclass
class VnetsChanged(Event):
    """The virtual networks are now these."""

    vnets: tuple[VNet, ...]


@dataclass
class VnetsRequest(Request[tuple[VNet, ...]]):
    """Which virtual networks are there?"""


@dataclass
class PutVnet(Request[bool]):
    """Create a virtual network or replace the one of this name; answers whether it is new."""

    vnet: VNet


@dataclass
class DeleteVnet(Request[bool]):
    """Forget a virtual network; its hosts fall back to the default one. Answers whether it was there."""

    name: str
