"""A gate in a process of its own, to be measured and killed: `python -m benchmarks.meshing.gate_process ...`."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from ryu_apps.overlay.authority import Authority
from ryu_apps.overlay.gate import Gate
from ryu_apps.overlay.hosting import GateListener
from ryu_apps.overlay.signing.requests import Admitted, Refusal
from vte_agent.protocol.enrollment import Enroll
from vte_agent.protocol.frames import Hello
from vte_agent.protocol.signed import Signed


def nobody(_: Enroll) -> Admitted:
    """Lets nobody in."""
    raise Refusal("nobody is let in here")


def main() -> None:
    """Say a line when it listens, one when all are there, and its costs for each line that is said to it."""
    directory, port, policy_key = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    wanted = {int(path.stem): Signed.model_validate_json(path.read_bytes()) for path in directory.glob("*.wanted")}
    seen: set[int] = set()
    all_there = threading.Event()

    def hello(serial: int, _: Hello) -> None:
        gate.send_wanted(serial, lambda: wanted[serial])
        seen.add(serial)
        if len(seen) == len(wanted):
            all_there.set()

    gate = Gate(Authority(directory), policy_key, nobody, GateListener(on_hello=hello))
    gate.start("127.0.0.1", port)
    gate.publish_roll(Signed.model_validate_json((directory / "roll").read_bytes()))
    begun_s = time.process_time()
    print("listens", flush=True)
    all_there.wait()
    print("all", flush=True)
    for _ in sys.stdin:
        peak_kb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        print(json.dumps({"peak_mb": peak_kb / 1024, "cpu_s": time.process_time() - begun_s}), flush=True)
    gate.stop()


if __name__ == "__main__":
    main()
