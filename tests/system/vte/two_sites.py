"""Two sites in namespaces, with as many tunnels between them as wanted, and the internet that nothing may leak to.

A tunnel is a pair of devices with a bridge between them, where nftables decides what happens to its packets, both
ways at the same instant. Each site runs the agent's prober and steering in a process of its own (site.py).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from mininet_topos.namespaces import network_of

HOSTS = {"a": "10.201.1.1", "b": "10.201.2.1"}
PREFIXES = {"a": "10.201.1.0/24", "b": "10.201.2.0/24"}
ENDS = {"a": 1, "b": 2}
INTERNET = "192.0.2"


def ip(*words: str, stdin: str | None = None) -> str:
    """Run `ip`; raises CalledProcessError."""
    return subprocess.run(
        ["ip", *words], input=stdin, capture_output=True, text=True, check=True, timeout=20
    ).stdout


@dataclass
class Site:
    """One site: a namespace, and the process of its agent."""

    name: str
    namespace: str
    process: subprocess.Popen[str] | None = None

    @property
    def host(self) -> str:
        return HOSTS[self.name]

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a command in the site's namespace."""
        words = ["ip", "netns", "exec", self.namespace, *command]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=20, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @property
    def pid(self) -> int:
        """A process in the site's namespace."""
        return self._anchor.pid

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the site's namespace meanwhile."""
        with network_of(self.pid):
            yield

    def start(self, wanted: Mapping[str, Any]) -> None:
        """Start its agent; it has begun when this returns."""
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "tests.system.vte.site"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask("want", wanted)

    def ask(self, command: str, argument: object = None) -> Any:
        """Have its agent do something; returns what it says."""
        assert self.process and self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([command, argument]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the agent of {self.name} has ended"
        return json.loads(line)

    def stop(self) -> None:
        """End its agent as it would end itself."""
        if self.process and self.process.poll() is None:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait(10)
        if self.process and self.process.stdout:
            self.process.stdout.close()
        self.process = None

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(10)

    def state(self) -> tuple[str, ...]:
        """All rules, routes and filters of the namespace."""
        asked = [["ip", *f, "rule"] for f in ([], ["-6"])] + [
            ["ip", *f, "route", "show", "table", "all"] for f in ([], ["-6"])
        ]
        return tuple(self.run(*words) for words in (*asked, ["nft", "list", "ruleset"]))

    def __post_init__(self) -> None:
        ip("netns", "add", self.namespace)
        # Keeps a process in the namespace, so that threads can enter it.
        words = ["ip", "netns", "exec", self.namespace, "cat"]
        self._anchor = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        # Nothing is to appear by itself, so that what is there before and after can be compared.
        self.run("sysctl", "-qw", "net.ipv6.conf.default.addr_gen_mode=1")
        self.run("ip", "link", "set", "lo", "up")

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
        self.stop()
        assert self._anchor.stdin
        self._anchor.stdin.close()
        self._anchor.wait(10)
        ip("netns", "del", self.namespace)


@dataclass
class TwoSites:
    """The two sites, the internet between them, and the names of the tunnels."""

    a: Site
    b: Site
    internet: Site
    tunnels: tuple[str, ...] = ()

    def wanted(self, site: str, interval_ms: int = 50, **other: Any) -> dict[str, Any]:
        """What site.py is told: all tunnels, and a route to the other site over them, best first."""
        peer = "b" if site == "a" else "a"
        return {
            "tunnels": [
                {
                    "name": name,
                    "device": name,
                    "address": f"10.202.{number}.{ENDS[site]}",
                    "peer_address": f"10.202.{number}.{ENDS[peer]}",
                    "interval_ms": interval_ms,
                }
                for number, name in enumerate(self.tunnels, 1)
            ],
            "routes": [{"prefixes": [PREFIXES[peer]], "tunnels": list(self.tunnels)}],
            "local": [PREFIXES[site]],
            "source": HOSTS[site],
            **other,
        }

    def start(self, interval_ms: int = 50, **other: Any) -> None:
        for site in (self.a, self.b):
            site.start(self.wanted(site.name, interval_ms, **other))

    def way(self, tunnel: str, words: str | None, to: str = "ab") -> None:
        """What happens to a tunnel's packets to these ends: nftables words such as `drop`; None: they pass."""
        table = f"table netdev on_{tunnel}"
        text = f"{table} {{}}\ndelete {table}\n"
        if words is not None:
            devices = ", ".join(f"{tunnel}{'b' if end == 'a' else 'a'}" for end in to)
            hook = f"type filter hook ingress devices = {{ {devices} }} priority 0; policy accept;"
            text += f"{table} {{\n chain way {{\n {hook}\n {words}\n }}\n}}\n"
        self.internet.run("nft", "-f", "-", stdin=text)


@contextmanager
def two_sites(tunnels: int = 2) -> Iterator[TwoSites]:
    """Make all of it; it is gone afterwards."""
    prefix = f"v{os.getpid() % 10000}{secrets.token_hex(1)}"
    with ExitStack() as stack:

        def made(name: str) -> Site:
            site = Site(name, f"{prefix}-{name}")
            stack.callback(site.close)
            return site

        a, b, internet = made("a"), made("b"), made("internet")
        names = tuple(f"t{number}" for number in range(1, tunnels + 1))
        for number, name in enumerate(names, 1):
            internet.run("ip", "link", "add", name, "type", "bridge")
            internet.run("ip", "link", "set", name, "up")
            for site in (a, b):
                _link((site, name), (internet, f"{name}{site.name}"), f"10.202.{number}.{ENDS[site.name]}/24")
                internet.run("ip", "link", "set", f"{name}{site.name}", "master", name)
        for number, site in enumerate((a, b), 1):
            _link((site, "wan"), (internet, f"wan{site.name}"), f"{INTERNET}.{number}/24")
            internet.run("ip", "addr", "add", f"{INTERNET}.{100 + number}/32", "dev", f"wan{site.name}")
            site.run("ip", "route", "add", "default", "via", f"{INTERNET}.{100 + number}")
            site.run("ip", "addr", "add", f"{site.host}/32", "dev", "lo")
        yield TwoSites(a, b, internet, names)


def _link(end: tuple[Site, str], other: tuple[Site, str], address: str) -> None:
    (site, device), (far, far_device) = end, other
    where = ["netns", site.namespace, "type", "veth", "peer", "name", far_device, "netns", far.namespace]
    ip("link", "add", device, *where)
    site.run("ip", "addr", "add", address, "dev", device)
    site.run("ip", "link", "set", device, "up")
    far.run("ip", "link", "set", far_device, "up")


def open_in(site: Site, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket in a site's namespace."""
    with site.inside():
        return make()
