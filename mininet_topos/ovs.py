"""Open vSwitch on this machine: is it there, start it where nothing did, and run `ovs-vsctl`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_VSCTL_TIMEOUT_S = 30
_START_TIMEOUT_S = 10.0
_RUN_DIRECTORY = Path("/var/run/openvswitch")
_DATABASE = Path("/etc/openvswitch/conf.db")
_LOG_DIRECTORY = Path("/var/log/openvswitch")
_SCHEMAS = (
    Path("/usr/share/openvswitch/vswitch.ovsschema"),
    Path("/usr/local/share/openvswitch/vswitch.ovsschema"),
)

_NICENESS = -10
"""Of a switch daemon that forwards: what Open vSwitch's own start script gives it."""

_PACKAGES = {
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "mnexec": "mininet",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "ifconfig": "net-tools",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sysctl": "procps",
    "unshare": "util-linux",
}

_NEEDS = ("ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "mnexec", "ip", "ping", "ifconfig")


Enter = Callable[[Sequence[str]], list[str]]
"""Makes of a command line one that runs it in another place (`Enclosure.enter`)."""


class LabUnavailable(RuntimeError):
    """No lab can run on this machine; one line that says what is missing and the remedy."""


class OvsError(RuntimeError):
    """An Open vSwitch command failed; the message is its own."""


def require_lab() -> None:
    """Raise LabUnavailable unless a lab can run here: root, /dev/net/tun, OVS, namespaces, ip, ifconfig."""
    require_root()
    require_programs(_NEEDS)
    require_tun()
    try:
        # Mininet waits for ever for the shell of a host that could not be made.
        run(["mnexec", "-n", "true"])
        run(["mnexec", "-a", str(os.getpid()), "true"])
    except OvsError as error:
        raise LabUnavailable(
            f"the lab cannot make and enter network namespaces ({error}): it needs CAP_SYS_ADMIN "
            "(in a container --privileged) and a root that is a mount point, which that of a plain chroot is not"
        ) from error


def require_root() -> None:
    """Raise LabUnavailable unless this is root."""
    if os.geteuid() != 0:
        raise LabUnavailable("the lab needs root (network namespaces, devices): run it with sudo")


def require_tun() -> None:
    """Raise LabUnavailable unless devices can be made whose packets a program carries."""
    tun = Path("/dev/net/tun")
    try:
        os.close(os.open(tun, os.O_RDWR))
    except OSError as error:
        raise LabUnavailable(
            f"the lab needs {tun} ({error.strerror}): `modprobe tun`; in a container "
            f"add --device {tun} --cap-add NET_ADMIN"
        ) from error


def require_programs(names: Sequence[str]) -> None:
    """Raise LabUnavailable naming the first program that is not installed and its Debian package."""
    for name in names:
        if which(name) is None:
            raise LabUnavailable(
                f"the lab needs {name}, which is not installed: apt-get install {_PACKAGES[name]}"
            )


def which(name: str) -> str | None:
    """Find a program, in the sbin directories too: a user's PATH often lacks them."""
    return shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
    )


def run(
    argv: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    stdin: str | None = None,
    check: bool = True,
) -> str:
    """Run a program, return its output; raises OvsError with its complaint, unless `check=False`."""
    program = which(argv[0]) or argv[0]
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            env={**os.environ, **(environment or {})},
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_VSCTL_TIMEOUT_S * 2,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OvsError(f"{argv[0]}: {error}") from error
    if check and done.returncode:
        raise OvsError(f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def database() -> str:
    """Where the database of the machine's OVS is, as `lockstitch controller --ovsdb` takes it."""
    return f"unix:{_RUN_DIRECTORY / 'db.sock'}"


def daemons() -> list[int]:
    """The process ids of the machine's OVS, as far as it has written them down."""
    found = []
    for name in ("ovsdb-server.pid", "ovs-vswitchd.pid"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int((_RUN_DIRECTORY / name).read_text()))
    return found


def vsctl(*arguments: str) -> str:
    """Run `ovs-vsctl` against the machine's OVS; raises OvsError."""
    return run(["ovs-vsctl", f"--timeout={_VSCTL_TIMEOUT_S}", *arguments])


def answers() -> bool:
    """Whether both daemons answer: the database, and a switch daemon that has reconfigured itself."""
    try:
        run(["ovs-vsctl", "--timeout=3", "--no-wait", "show"])
        run(["ovs-appctl", "--timeout=3", "version"])
    except OvsError:
        return False
    return True


def ensure_ovs() -> None:
    """Use the OVS daemons that answer, else start them (no kernel module, no systemd). Raises LabUnavailable."""
    if answers():
        return
    require_lab()
    reason = ""
    try:
        start_database(_RUN_DIRECTORY, _DATABASE, _LOG_DIRECTORY)
        start_switch(_RUN_DIRECTORY, _LOG_DIRECTORY)
    except OvsError as error:
        # Somebody else may be starting them at this moment: what counts is whether they answer.
        reason = f" ({error})"
    give_up_s = time.monotonic() + _START_TIMEOUT_S
    while not answers():
        if time.monotonic() > give_up_s:
            raise LabUnavailable(f"Open vSwitch does not start{reason}; look into {_LOG_DIRECTORY}")
        time.sleep(0.05)


def start_database(run_directory: Path, database: Path, log_directory: Path, *, enter: Enter = list) -> None:
    """Start an ovsdb-server unless one has the socket, with a new database if there is none; raises OvsError."""
    control = () if run_directory == _RUN_DIRECTORY else (f"--unixctl={run_directory / 'ovsdb-server.ctl'}",)
    for directory in (run_directory, database.parent, log_directory):
        directory.mkdir(parents=True, exist_ok=True)
    if not database.exists():
        schema = next((path for path in _SCHEMAS if path.exists()), None)
        if schema is None:
            raise OvsError(
                f"no vswitch.ovsschema in {_SCHEMAS[0].parent}; apt-get install --reinstall openvswitch-common"
            )
        run(["ovsdb-tool", "create", str(database), str(schema)])
    environment = {"OVS_RUNDIR": str(run_directory)}
    remote = f"unix:{run_directory / 'db.sock'}"
    try:
        run(["ovs-vsctl", f"--db={remote}", "--timeout=2", "--no-wait", "show"], environment)
    except OvsError:
        words = [
            which("ovsdb-server") or "ovsdb-server",
            str(database),
            f"--remote=p{remote}",
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
            f"--pidfile={run_directory / 'ovsdb-server.pid'}",
            f"--log-file={log_directory / 'ovsdb-server.log'}",
            *control,
            "--verbose=console:off",
            "--detach",
            "--no-chdir",
        ]
        run(enter(words), environment)
    run(["ovs-vsctl", f"--db={remote}", "--timeout=5", "--no-wait", "init"], environment)


def start_switch(
    run_directory: Path, log_directory: Path, *options: str, niceness: int = _NICENESS, enter: Enter = list
) -> None:
    """Start an ovs-vswitchd on the database in `run_directory`; raises OvsError."""
    control = () if run_directory == _RUN_DIRECTORY else (f"--unixctl={run_directory / 'ovs-vswitchd.ctl'}",)
    pid_file = run_directory / "ovs-vswitchd.pid"
    # Where that is not permitted, `nice` says so and goes on.
    words = [
        *("nice", "-n", str(niceness)),
        which("ovs-vswitchd") or "ovs-vswitchd",
        f"unix:{run_directory / 'db.sock'}",
        f"--pidfile={pid_file}",
        f"--log-file={log_directory / 'ovs-vswitchd.log'}",
        "--verbose=console:off",
        "--detach",
        "--no-chdir",
        *control,
        *options,
    ]
    run(enter(words), {"OVS_RUNDIR": str(run_directory)})
    # Where the kernel shares processors out by session (sched(7)), niceness says nothing outside of its own.
    autogroup = f"echo {niceness} > /proc/$(cat '{pid_file}')/autogroup"
    run(enter(["sh", "-c", autogroup]), check=False)
