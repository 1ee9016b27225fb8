"""Runs nft, which changes a table in one step or not at all."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from vte_agent import programs

_TIMEOUT_S = 10.0


class NftFailed(RuntimeError):
    """What was to be done was not done; the message says why and what to do."""


def missing() -> str:
    """Why there is no nft, and the remedy; "" where there is one."""
    return "" if programs.find("nft") else "nft is not installed: run 'apt-get install nftables'"


def nft(words: Sequence[str], text: str = "") -> str:
    """Run it with these words and this on its standard input; gives what it writes. Raises NftFailed."""
    program = programs.find("nft")
    if program is None:
        raise NftFailed(missing())
    try:
        done = subprocess.run(
            [program, *words],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NftFailed(f"nft could not be run: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:200] or f"status {done.returncode}"
        raise NftFailed(f"nft: {said}. Does the kernel have nf_tables, and this process CAP_NET_ADMIN?")
    return done.stdout
