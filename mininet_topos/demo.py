"""The main job, measured: one demand played three times on one lab, with three ways to run the network.

shortest    shortest paths only
reactive    a stitch when a link is full already
predictive  a stitch when the forecast says that a link will be full
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from mininet_topos.congestion import Congestion, busy_seconds, congestions, lead_times
from mininet_topos.demand import Demand
from mininet_topos.fidelity import Fidelity, FidelityWatch
from mininet_topos.lab import Lab
from mininet_topos.play_result import DelayMs, PlayResult
from mininet_topos.player import play
from mininet_topos.topology import LabTopology

RUNS = {"shortest": "off", "reactive": "reactive", "predictive": "predictive"}
"""The name of each run and the --trigger of its controller."""

READY_WITHIN_S = 30.0
SAMPLE_S = 0.5

Report = Callable[[str, float, float], None]
"""Called with what is going on, how far it is and where it ends, in seconds."""


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why and what helps."""


@dataclass(frozen=True)
class Plan:
    """What is played: a demand already cut, scaled and on the lab's routers, at seconds_per_step."""

    topology: LabTopology
    demand: Demand
    seconds_per_step: float
    seed: int = 0

    @property
    def duration_s(self) -> float:
        """How long one run plays."""
        return self.demand.steps * self.seconds_per_step


@dataclass(frozen=True)
class RunResult:
    """One run, every figure measured in it.

    busy_s: time with any link over 90 %. lead_time_s: for each congestion that the shortest paths ran into, how
    long before it the stitch that relieves the link was up; negative where it came too late. fidelity: how far the
    run was what it was meant to be, and not what a busy machine made of it.
    """

    lost_share: float
    lost: int
    sent: int
    delay_ms: DelayMs
    busy_s: float
    stitches: int
    rules: int
    lead_time_s: list[float]
    congestions: int
    fidelity: Fidelity
    seconds: list[tuple[int, int]]


@dataclass(frozen=True)
class _Played:
    """What is left of a run when its lab is gone."""

    traffic: PlayResult
    fidelity: Fidelity
    busy_s: float
    congestions: tuple[Congestion, ...]
    stitches: tuple[dict[str, Any], ...]
    rules: int
    started_s: float


def run_demo(plan: Plan, report: Report) -> dict[str, RunResult]:
    """Play the plan three times; returns the runs by name. Raises DemoError, LabUnavailable, WorkerFailed."""
    played = {name: _play_once(plan, name, trigger, report) for name, trigger in RUNS.items()}
    full = played["shortest"].congestions
    return {name: _result(run, full) for name, run in played.items()}


def _result(run: _Played, full: tuple[Congestion, ...]) -> RunResult:
    traffic = run.traffic
    return RunResult(
        lost_share=traffic.lost_share,
        lost=traffic.lost,
        sent=traffic.sent,
        delay_ms=traffic.delay_ms,
        busy_s=run.busy_s,
        stitches=len(run.stitches),
        rules=run.rules,
        lead_time_s=lead_times(full, run.stitches, run.started_s),
        congestions=len(full),
        fidelity=run.fidelity,
        seconds=[(second.sent, second.lost) for second in traffic.seconds],
    )


def doubts(runs: dict[str, RunResult]) -> list[str]:
    """Why these runs cannot be compared: what the machine did to one is not in the others."""
    return [f"{name}: {doubt}" for name, run in runs.items() for doubt in run.fidelity.doubts()]


def as_json(plan: Plan, runs: dict[str, RunResult]) -> dict[str, Any]:
    """All of it, for a file. `counts` is false where the machine was too busy, `why_not` says how."""
    why_not = doubts(runs)
    return {
        "counts": not why_not,
        "why_not": why_not,
        "topology": plan.topology.name,
        "demand": plan.demand.name,
        "start": None if plan.demand.start is None else str(plan.demand.start),
        "steps": plan.demand.steps,
        "seconds_per_step": plan.seconds_per_step,
        "runs": {name: asdict(run) for name, run in runs.items()},
    }


def _play_once(plan: Plan, name: str, trigger: str, report: Report) -> _Played:
    report(f"{name}: starting", 0.0, plan.duration_s)
    # The season of the traffic, on the clock of the play.
    season_s = 86400.0 / plan.demand.step_s * plan.seconds_per_step
    with (
        tempfile.TemporaryDirectory(prefix="lockstitch-demo-") as directory,
        _controller(Path(directory), trigger, season_s) as (api, of_port),
        Lab(plan.topology, controller=f"127.0.0.1:{of_port}", seed=plan.seed) as lab,
    ):
        _prepare(api, lab)
        before = _rules(api)
        started: dict[str, float] = {}
        watch = FidelityWatch(lab)

        def on_start(at_s: float) -> None:
            watch.started()
            started["wall"] = time.time() + at_s - time.monotonic()

        with _Sampler(lab) as sampler:
            traffic = play(
                lab,
                plan.demand,
                plan.seconds_per_step,
                seed=plan.seed,
                on_start=on_start,
                progress=lambda done_s, total_s: report(f"{name}: playing", done_s, total_s),
            )
            fidelity = watch.fidelity(traffic)
        loads = sampler.since(started["wall"])
        stitches = tuple(_get(api, "/v1/stitches"))
        return _Played(
            traffic,
            fidelity,
            busy_seconds(loads),
            congestions(loads),
            tuple(stitch for stitch in stitches if stitch["origin"] == "trigger"),
            _rules(api) - before,
            started["wall"],
        )


# the controller ------------------------------------------------------------------------------------------


@contextmanager
def _controller(state: Path, trigger: str, season_s: float) -> Iterator[tuple[httpx.Client, int]]:
    """A controller in a process of its own; gives a client of its API and the port it awaits switches on."""
    command = [sys.executable, "-m", "ryu_apps", "controller", "--state", str(state), "--of-port", "0"]
    command += ["--rest-port", "0", "--trigger", trigger, "--season", str(season_s)]
    log_file = state / "log"
    with log_file.open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            ports = _ports(process, state)
            token = (state / "token").read_text().strip()
            with httpx.Client(
                base_url=f"http://127.0.0.1:{ports['rest']}",
                headers={"Authorization": f"Bearer {token}"},
                # A proxy in the environment has no business between us and 127.0.0.1.
                trust_env=False,
            ) as api:
                yield api, ports["openflow"]
        except DemoError as error:
            raise DemoError(f"{error}; the controller's log ends:\n{_tail(log_file)}") from error
        except httpx.HTTPError as error:
            raise DemoError(
                f"the controller does not do as it is asked ({error}); its log ends:\n{_tail(log_file)}"
            ) from error
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ports(process: subprocess.Popen[bytes], state: Path) -> dict[str, int]:
    """Wait for the controller to say where it listens."""
    deadline_s = time.monotonic() + READY_WITHIN_S
    path = state / "ports"
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise DemoError("the controller ended at once")
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return {name: int(port) for name, port in (line.split("=") for line in text.split())}
        time.sleep(0.02)
    raise DemoError(f"the controller did not start within {READY_WITHIN_S:g} s")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:])


def _prepare(api: httpx.Client, lab: Lab) -> None:
    """Wait until the controller knows every link, tell it what they carry, and let it see every host."""
    expected = 2 * len(lab.topology.links)

    def measured() -> bool:
        links = _get(api, "/v1/topology")["links"]
        return len(links) == expected and all(link["path_latency_ms"] is not None for link in links)

    _wait(measured, "links were not all found and measured")
    api.put("/v1/links/capacities", json=capacities(lab)).raise_for_status()
    hosts = lab.hosts()
    for one, other in zip(hosts, (*hosts[1:], hosts[0]), strict=True):
        if not lab.ping(one.name, other.name, deadline_s=5.0):
            raise DemoError(f"{one.name} does not reach {other.name}")
    _wait(lambda: len(_get(api, "/v1/hosts")) == len(hosts), "hosts were not all seen")


def capacities(lab: Lab) -> list[dict[str, Any]]:
    """What the links of a lab carry, as PUT /v1/links/capacities wants it."""
    return [
        {"dpid": f"{row['src_dpid']:016x}", "port": row["src_port"], "capacity_mbps": row["capacity_mbps"]}
        for row in lab.capacities()
    ]


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise DemoError(f"{otherwise} within {READY_WITHIN_S:g} s")
        time.sleep(0.05)


def _get(api: httpx.Client, path: str) -> Any:
    answer = api.get(path)
    answer.raise_for_status()
    return answer.json()


def _rules(api: httpx.Client) -> int:
    rules: int = _get(api, "/v1/health")["installer"]["rules_added"]
    return rules


# the links -----------------------------------------------------------------------------------------------


class _Sampler:
    """Reads the counters of every link while the demand plays: what the wire carried, whoever sent it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._samples: list[tuple[float, dict[tuple[int, int], tuple[int, float]]]] = []

    def __enter__(self) -> _Sampler:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        stats = self._lab.stats()
        wall_s = time.time() - (time.monotonic() - stats.time_s)
        dpids = {node.name: node.dpid for node in self._lab.topology.nodes}
        carried = {}
        for link, both in zip(self._lab.topology.links, stats.links, strict=True):
            for source, target, direction in ((link.a, link.b, both.a_to_b), (link.b, link.a, both.b_to_a)):
                port = (dpids[source], self._lab.port_no(source, target))
                carried[port] = (direction.bytes, link.rate_mbps)
        self._samples.append((wall_s, carried))

    def since(self, started_s: float) -> list[tuple[float, dict[tuple[int, int], float]]]:
        """(seconds since started_s, utilisation per port), one entry an interval, of the play only."""
        loads = []
        for (before_s, before), (now_s, now) in zip(self._samples, self._samples[1:], strict=False):
            if before_s < started_s:
                continue
            took_s = now_s - before_s
            shares = {
                port: (carried - before[port][0]) * 8 / 1e6 / took_s / rate
                for port, (carried, rate) in now.items()
            }
            loads.append((now_s - started_s, shares))
        return loads
