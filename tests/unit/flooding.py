"""A member that floods its controller, in a process of its own: `python -m tests.unit.flooding DIRECTORY`.

It says the longest report there is, over and over, as fast as it is let, and a line on its output for each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from websockets.asyncio.client import connect

from vte_agent import membership as members
from vte_agent.keeping import Keeping
from vte_agent.protocol.channel import SERVER_NAME
from vte_agent.protocol.frames import MOST_FROM_AGENT, Hello, encode
from vte_agent.protocol.has import MOST_COUNTS, MOST_ROUTES, MOST_TUNNELS


def longest() -> str:
    """As many of each as there may be, with as much said of each as a frame has room for."""
    why = "x" * 250
    has = {
        "generation": 1,
        "tunnels": [{"name": f"t{n}", "state": "up", "why": why} for n in range(MOST_TUNNELS)],
        "routes": [{"prefixes": ["10.0.0.0/8"], "tunnel": f"t{n}", "why": why} for n in range(MOST_ROUTES)],
        "filters": [{"rule": f"r{n}", "allow": True, "packets": 10**18 + n} for n in range(MOST_COUNTS)],
    }
    text = json.dumps({"type": "Has", "body": has})
    assert MOST_FROM_AGENT / 2 < len(text) <= MOST_FROM_AGENT
    return text


async def flood(directory: Path) -> None:
    keeping, frame = Keeping(directory), longest()
    membership = members.load(keeping)
    assert membership is not None
    async with connect(
        f"wss://{membership.controllers[0]}/",
        ssl=members.own_context(membership, keeping),
        server_hostname=SERVER_NAME,
        proxy=None,
        compression=None,
        max_size=None,
        ping_interval=None,
    ) as channel:
        await channel.send(encode(Hello()))
        while True:
            await channel.send(frame)
            sys.stdout.write("said\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(flood(Path(sys.argv[1])))
