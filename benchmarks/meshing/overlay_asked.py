"""Starts overlay_process and asks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from benchmarks.support.figure import MeasurementFailed

_END_S = 10.0


class AskedOverlay:
    """Runs while the `with` block does; `words` are its arguments, `enter` is how it gets where it shall run."""

    def __init__(
        self,
        words: Sequence[object],
        enter: Callable[[Sequence[str]], list[str]] = list,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        argv = [sys.executable, "-m", "benchmarks.meshing.overlay_process", *map(str, words)]
        self._process = subprocess.Popen(
            enter(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def connected(self) -> int:
        """How many agents are on the channel. Raises MeasurementFailed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise MeasurementFailed("the overlay's process has ended")
        return int(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
