"""The traffic player: replays a demand as real UDP flows between the hosts of a lab, one flow per pair of routers.

Two processes do it, a sender and a receiver (`sender.py`, `receiver.py`), each with sockets in every host's
namespace. The talk with them: both say `ready`; the sender is told to warm up until the receiver has `seen`
every flow; then it is told when to start; when it has sent everything the receiver is told to drain. Both
hand their raw log over, and `play_result.summarise` makes figures of them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np

from mininet_topos.demand import BadDemand, Demand
from mininet_topos.lab import Lab
from mininet_topos.play_result import Logs, PlayResult, summarise
from mininet_topos.schedule import Schedule, schedule
from mininet_topos.sender import PACKET
from mininet_topos.worker import Worker, WorkerFailed

Progress = Callable[[float, float], None]
"""Called a few times a second with seconds played and seconds in all."""

_PORT = 47_000
_READY_TIMEOUT_S = 20.0
_HEAD_START_S = 0.05
_QUIET_S, _DRAIN_MAX_S = 0.3, 5.0
_LAG_MAX_S = 60.0

__all__ = ["Progress", "WorkerFailed", "play"]


def play(
    lab: Lab,
    demand: Demand,
    seconds_per_step: float,
    *,
    seed: int = 0,
    interpolate: bool = False,
    warm_up_s: float = 3.0,
    on_start: Callable[[float], None] | None = None,
    progress: Progress | None = None,
) -> PlayResult:
    """Play a whole demand (cut and scaled beforehand: `Demand.window`) on a lab, until the last packet is in.

    `demand` is in the lab's node order (`map_to`). For up to `warm_up_s` one small packet per flow is sent
    now and then until all have arrived once, so that hosts know each other; these do not count. `on_start`
    gets the monotonic time of the first departure. Raises BadDemand, WorkerFailed.
    """
    if demand.nodes != lab.topology.node_names:
        raise BadDemand(f"{demand.name}: its nodes are not those of lab {lab.topology.name}; use map_to first")
    plan = schedule(demand, seconds_per_step, seed, interpolate=interpolate)
    if not len(plan.time_s):
        raise BadDemand(f"{demand.name}: no packet to send in this stretch; raise the scale")
    hosts = [lab.host(lab.topology.host_of(node).name) for node in demand.nodes]
    arrays = io.BytesIO()
    np.savez(arrays, time_s=plan.time_s, flow=plan.flow, payload=plan.payload)
    flows = [(hosts[source].pid, hosts[destination].ip) for source, destination in plan.flows]
    with (
        Worker("mininet_topos.receiver", {"pids": [host.pid for host in hosts], "port": _PORT}) as receiver,
        Worker("mininet_topos.sender", {"flows": flows, "port": _PORT}, arrays.getvalue()) as sender,
    ):
        _expect(receiver, _READY_TIMEOUT_S)
        _expect(sender, _READY_TIMEOUT_S)
        _warm_up(sender, receiver, len(flows), warm_up_s)
        start_ns = time.monotonic_ns() + round(_HEAD_START_S * 1e9)
        sender.tell({"start_ns": start_ns})
        if on_start is not None:
            on_start(start_ns / 1e9)
        done, left = _follow(sender, start_ns, plan, progress)
        receiver.tell({"quiet_s": _QUIET_S, "most_s": _DRAIN_MAX_S})
        received, log = _expect(receiver, _DRAIN_MAX_S + _READY_TIMEOUT_S, "packets")
    return summarise(plan, tuple(host.name for host in hosts), _logs(start_ns, done, left, received, log))


def _expect(worker: Worker, timeout_s: float, key: str = "ready") -> tuple[dict[str, float], bytes]:
    """Wait for a message that has the key; others are old news."""
    give_up_s = time.monotonic() + timeout_s
    while (left_s := give_up_s - time.monotonic()) > 0:
        heard = worker.hear(left_s)
        if heard is not None and key in heard[0]:
            return heard
    raise WorkerFailed(f"the player's processes did not answer within {timeout_s:.0f} s")


def _warm_up(sender: Worker, receiver: Worker, flows: int, most_s: float) -> None:
    give_up_s = time.monotonic() + most_s
    seen, again_s = 0, 0.0
    while seen < flows and time.monotonic() < give_up_s:
        if time.monotonic() >= again_s:
            sender.tell({"warm": True})
            again_s = time.monotonic() + 0.5
        heard = receiver.hear(0.1)
        if heard is not None:
            seen = int(heard[0].get("seen", seen))


def _follow(
    sender: Worker, start_ns: int, plan: Schedule, progress: Progress | None
) -> tuple[dict[str, float], bytes]:
    total_s = plan.duration_s
    while True:
        heard = sender.hear(0.2)
        played_s = (time.monotonic_ns() - start_ns) / 1e9
        if progress is not None:
            progress(min(max(played_s, 0.0), total_s), total_s)
        if heard is not None:
            return heard
        if played_s > total_s + _LAG_MAX_S:
            raise WorkerFailed(
                f"the sender is {_LAG_MAX_S:.0f} s behind its schedule; play less, or more seconds a step"
            )


def _logs(start_ns: int, done: dict[str, float], left: bytes, received: dict[str, float], log: bytes) -> Logs:
    packets = int(received["packets"])
    headers = np.frombuffer(log, dtype=[("flow", ">u4"), ("number", ">u4"), ("left_ns", ">i8")], count=packets)
    return Logs(
        start_ns=start_ns,
        left_ns=np.frombuffer(left, dtype=np.int64),
        flow=headers["flow"].astype(np.int64),
        number=headers["number"].astype(np.int64),
        arrived_ns=np.frombuffer(log, dtype=np.int64, offset=packets * PACKET.size, count=packets),
        refused=int(done["refused"]),
        cpu_s=done["cpu_s"] + received["cpu_s"],
    )
