"""Runs nft, which changes a table in one step or not at all; and asks the kernel whether any table was changed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from typing import Any

from pyroute2.netlink import NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import NFT_MSG_GETGEN, NFTSocket

from vte_agent import programs

_TIMEOUT_S = 10.0
_NOT_THERE = "No such file or directory"


class NftFailed(RuntimeError):
    """What was to be done was not done; the message says why and what to do."""


class NoTable(NftFailed):
    """There is no such table."""


def missing() -> str:
    """Why there is no nft, and the remedy; "" where there is one."""
    return "" if programs.find("nft") else "nft is not installed: run 'apt-get install nftables'"


def nft(words: Sequence[str], text: str = "") -> str:
    """Run it with these words and this on its standard input; gives what it writes. Raises NftFailed, NoTable."""
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
            env={**os.environ, "LC_ALL": "C"},
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NftFailed(f"nft could not be run: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[:200] or f"status {done.returncode}"
        kind = NoTable if _NOT_THERE in said and not text else NftFailed
        raise kind(f"nft: {said}. Does the kernel have nf_tables, and this process CAP_NET_ADMIN?")
    return done.stdout


class Generations:
    """Says whether any table was changed, whoever did it, without a process: so it can be asked all the time.

    It is of the network namespace where it is asked first, and for the thread that does. Its socket is kept: a new
    one for each question costs four times as much.
    """

    def __init__(self) -> None:
        self._kernel: Any = None

    def read(self) -> int:
        """The number of the last change of any table. Raises NftFailed; the next question is by another socket."""
        try:
            if self._kernel is None:
                self._kernel = NFTSocket()
            (answer,) = self._kernel.request_get(nfgen_msg(), NFT_MSG_GETGEN, NLM_F_REQUEST)
            return int(answer.get_attr("NFTA_GEN_ID"))
        except (NetlinkError, OSError, ValueError, TypeError) as error:
            self.close()
            raise NftFailed(
                f"the kernel does not say whether tables were changed: {error}. Does it have nf_tables?"
            ) from error

    def close(self) -> None:
        """Close the socket; a question opens another one."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            # One that broke may be closed already.
            with contextlib.suppress(OSError):
                kernel.close()
