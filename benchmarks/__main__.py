"""`python -m benchmarks [AREA]`: one JSON line on standard output for each figure, all else on standard error.

The exit code is 0 even where a target is missed: this measures. It is 1 where something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from benchmarks.support import baseline
from benchmarks.support.areas import Measurement, NoMeasurement, area_names, chosen
from benchmarks.support.figure import Figure, MeasurementFailed, note
from mininet_topos.emulator import RelayFailed
from mininet_topos.lab import LabError
from mininet_topos.ovs import LabUnavailable, OvsError
from mininet_topos.worker import WorkerFailed

KNOWN_ERRORS = (LabError, LabUnavailable, MeasurementFailed, OvsError, RelayFailed, WorkerFailed)
"""What is said in one line; anything else is a fault of ours and ends the run with its traceback."""


def main() -> int:
    """Run all areas or one; returns the exit code."""
    arguments = _arguments()
    areas = area_names()
    if arguments.area is not None and arguments.area not in areas:
        print(f"benchmarks: no area {arguments.area!r}; there is {', '.join(areas)}", file=sys.stderr)
        return 1
    try:
        wanted = chosen([arguments.area] if arguments.area is not None else areas, arguments.only)
    except NoMeasurement as error:
        print(f"benchmarks: --only: {error}", file=sys.stderr)
        return 1
    # A with block unwinds at SystemExit and at Ctrl-C, not at the bare signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    note(f"cores={os.cpu_count()}; other work on this machine changes the figures")
    taken: list[Figure] = []
    failed = 0
    for one in wanted:
        failed += not _take(one.area, one.name, one.take, taken)
    if arguments.save_baseline:
        baseline.save(taken)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("area", nargs="?", help=f"one of: {', '.join(area_names())} (default: all)")
    parser.add_argument(
        "--only", metavar="PART", help="only the measurement of this name, or those with it in theirs"
    )
    parser.add_argument("--save-baseline", action="store_true", help="keep what is measured as the baseline")
    return parser.parse_args()


def _take(area: str, name: str, measurement: Measurement, taken: list[Figure]) -> bool:
    """Take one measurement and write its figures as they come; returns whether it went well."""
    before = baseline.load()
    note(f"{area}: {name} load={os.getloadavg()[0]:.2f}")
    try:
        for figure in measurement():
            print(figure.line(), flush=True)
            taken.append(figure)
            if (worse := baseline.alarm(figure, before)) is not None:
                note(worse)
    except KNOWN_ERRORS as error:
        print(f"benchmarks: {area}: {name}: {' '.join(str(error).split())}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
