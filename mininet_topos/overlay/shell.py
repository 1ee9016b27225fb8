"""The command line of the overlay's lab: run programs at its places, cut and mend its lines."""

from __future__ import annotations

import cmd
import shlex
import subprocess
import sys

from mininet_topos.emulator import RelayFailed
from mininet_topos.handles import LabError
from mininet_topos.overlay.enclosure import Enclosure
from mininet_topos.overlay.lab import OverlayLab
from mininet_topos.overlay.world import ENVIRONMENT, NOC


class Shell(cmd.Cmd):
    """Reads commands until `exit`, or the end of its input."""

    prompt = "overlay> "

    def __init__(self, lab: OverlayLab) -> None:
        super().__init__()
        self._lab = lab
        hosts = {host.name: host.enclosure for host in lab.hosts.values()}
        self._places: dict[str, Enclosure] = {**hosts, **{name: lab.world.at(name) for name in lab.world.nodes}}
        addresses = ", ".join(f"{host.name} {host.ip}" for host in lab.hosts.values())
        self.intro = (
            f"hosts: {addresses}; places: {', '.join(lab.world.nodes)}\n"
            "  HOST|PLACE PROGRAM ...     run a program there:       ber1 ping -c 2 10.2.0.10\n"
            "  cut|mend PLACE UPLINK      a line falls silent:       cut ber fibre\n"
            "  lockstitch ...             ask controller and signer: lockstitch overlay tunnels\n"
            "  exit"
        )

    def default(self, line: str) -> None:
        """A program at a host or place."""
        place, *words = _split(line)
        if place not in self._places:
            self._say(f"no host, place or command {place!r}; there is {', '.join((*self._places, 'cut', 'mend'))}")
        elif words:
            self._run(self._places[place].enter(words), ENVIRONMENT)

    def do_cut(self, line: str) -> None:
        """Have a line fall silent: cut PLACE UPLINK."""
        self._line(line, cut=True)

    def do_mend(self, line: str) -> None:
        """Have it carry packets again: mend PLACE UPLINK."""
        self._line(line, cut=False)

    def do_lockstitch(self, line: str) -> None:
        """Run lockstitch where the controller and the signer are."""
        world = self._lab.world
        own = {"LOCKSTITCH_STATE": str(world.state), "LOCKSTITCH_SIGNER_STATE": str(world.signer)}
        own["LOCKSTITCH_URL"] = world.url
        self._run(world.at(NOC).enter([sys.executable, "-m", "ryu_apps", *_split(line)]), {**ENVIRONMENT, **own})

    def do_exit(self, _line: str) -> bool:
        """End the lab."""
        return True

    def do_EOF(self, _line: str) -> bool:  # noqa: N802  # what cmd calls the end of the input
        """End the lab."""
        self._say("")
        return True

    def emptyline(self) -> bool:
        """Do nothing: cmd would do the last command again."""
        return False

    def _line(self, line: str, *, cut: bool) -> None:
        words = _split(line)
        if len(words) != 2:
            self._say("give a place and its uplink: ber fibre")
            return
        try:
            link = self._lab.world.underlay.link(*words)
            link.cut() if cut else link.restore()
        except (LabError, RelayFailed) as error:
            self._say(str(error))

    def _run(self, argv: list[str], environment: dict[str, str]) -> None:
        try:
            subprocess.run(argv, env=environment, check=False)
        except KeyboardInterrupt:
            self._say("")

    def _say(self, text: str) -> None:
        self.stdout.write(f"{text}\n")


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
