"""Mininet's classes as this lab needs them: devices are made in bulk, Mininet only has to know them."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import types
from typing import Any

from mininet_topos.ovs import LabUnavailable

if importlib.util.find_spec("distutils") is None:
    # Python 3.12 dropped distutils; Mininet wants one name of it, for a comparison that LabSwitch never makes.
    _version = types.ModuleType("distutils.version")
    _version.StrictVersion = str  # type: ignore[attr-defined]  # made up here
    sys.modules["distutils"] = types.ModuleType("distutils")
    sys.modules["distutils.version"] = _version

try:
    from mininet.cli import CLI
    from mininet.link import Intf, Link
    from mininet.log import setLogLevel
    from mininet.net import Mininet
    from mininet.node import Host, OVSSwitch
except ImportError as error:
    raise LabUnavailable(f"the lab needs Mininet ({error}): pip install 'lockstitch[lab]'") from error

__all__ = ["CLI", "LabMininet", "LabNodeHost", "LabSwitch", "ReadyIntf", "ReadyLink", "setLogLevel"]


class ReadyIntf(Intf):  # type: ignore[misc]  # Mininet ships no types
    """An interface that exists, is named and is up."""

    def config(self, ip: str | None = None, **_params: Any) -> dict[str, Any]:
        """Only note the address: ifconfig has nothing left to do."""
        if ip is not None:
            self.ip, self.prefixLen = ip.split("/")
        return {}


class ReadyLink(Link):  # type: ignore[misc]  # Mininet ships no types
    """A link whose two devices exist."""

    @classmethod
    def makeIntfPair(cls, *_args: Any, **_kwargs: Any) -> None:  # noqa: N802 - Mininet's name
        """Make nothing."""


class LabNodeHost(Host):  # type: ignore[misc]  # Mininet ships no types
    """A namespace with a shell; its address is set by the lab."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Do nothing; see the class."""
        return {}


class LabSwitch(OVSSwitch):  # type: ignore[misc]  # Mininet ships no types
    """A userspace OVS bridge that carries its lab's stamp from the transaction that creates it."""

    def __init__(self, name: str, external_ids: str = "", **params: Any) -> None:
        self._external_ids = external_ids
        super().__init__(name, datapath="user", protocols="OpenFlow13", batch=True, **params)

    @classmethod
    def isOldOVS(cls) -> bool:  # noqa: N802 - Mininet's name
        """Never: OVS before 1.10 is from 2013, and Mininet's comparison needs distutils."""
        return False

    def bridgeOpts(self) -> str:  # noqa: N802 - Mininet's name
        """Mininet's options and the stamp."""
        return f"{super().bridgeOpts()} {self._external_ids}"


class LabMininet(Mininet):  # type: ignore[misc]  # Mininet ships no types
    """Mininet without a word on the terminal and without a change to the machine's sysctls."""

    def __init__(self) -> None:
        setLogLevel("error")
        if shutil.which("mnexec") is None:
            raise LabUnavailable("the lab needs mnexec, which is not installed: apt-get install mininet")
        # Its init() raises a dozen kernel limits for good; a lab of this size needs none of them.
        Mininet.inited = True
        super().__init__(
            switch=LabSwitch, host=LabNodeHost, link=ReadyLink, intf=ReadyIntf, controller=None, build=False
        )

    def forget_links(self) -> None:
        """Keep stop() from deleting devices one process each: the lab deletes them all at once."""
        self.links.clear()
