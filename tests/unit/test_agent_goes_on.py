"""No fault of the agent's own ends what it looks after; only who is told to stop takes it away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.test_agent_hands import KEYS, SIGNER, member
from tests.unit.trust_world import public
from vte_agent import machine
from vte_agent.agent import Agent
from vte_agent.believing import Believed
from vte_agent.hands import Snapshot
from vte_agent.keeping import Keeping
from vte_agent.membership import Membership
from vte_agent.protocol.has import Has
from vte_agent.protocol.signed import Signed
from vte_agent.uplinks import Uplinks


class FakeHands:
    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.stopped: list[bool] = []
        self.wanted: list[Believed] = []

    def start(self) -> None: ...

    def want(self, believed: Believed) -> None:
        self.wanted.append(believed)

    def stop(self, *, keep: bool) -> None:
        self.stopped.append(keep)


class FakeThread:
    def start(self, *_: object) -> None: ...

    def stop(self) -> None: ...

    def report(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        return (), ()


class Bench:
    """An agent whose hands and threads are fakes; `said` is what it tells the controllers."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vte_agent.agent._LOOK_EVERY_S", 0.02)
        monkeypatch.setattr("vte_agent.agent.LEAST_APART_S", 0.001)
        membership = Membership(
            controllers=("127.0.0.1:1",),
            authority="",
            policy_key=public(SIGNER),
            member=Signed.of(member(1), SIGNER),
        )
        self.agent = cast(Any, Agent(Keeping(directory), KEYS[1], membership, Uplinks({"wan": "lo"}), {}))
        self.hands = self.agent._hands = cast(Any, FakeHands())
        self.agent._prober = self.agent._steering = FakeThread()
        self.said: list[Has] = []
        self.agent._channel.say_has = self.said.append
        self.agent._channel.run = asyncio.Event().wait

    def run(self, act: Callable[[], Awaitable[None]], *, keep: bool = False) -> None:
        async def both() -> None:
            running = asyncio.ensure_future(self.agent.run(keep=keep))
            await act()
            assert not running.done()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(both())

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self.agent._news.set()
                await asyncio.sleep(0.005)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path / "state", monkeypatch)


def fails(*_: object, **__: object) -> None:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize(
    ("part", "method", "what"),
    [
        ("_reporter", "has", "reporting failed (OSError)"),
        ("_believer", "judge", "looking at what is believed failed (OSError)"),
        ("_channel", "run", "the control channel failed (OSError)"),
    ],
)
def test_what_fails_is_named_and_all_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, part: str, method: str, what: str
) -> None:
    async def act() -> None:
        with monkeypatch.context() as patched:
            await bench.until(lambda: bench.said)
            if part == "_channel":
                bench.agent._news.set()
            else:
                patched.setattr(getattr(bench.agent, part), method, fails)
            await bench.until(lambda: bench.agent._trouble)
        await bench.until(lambda: any(what in problem for problem in bench.said[-1].problems))
        if part != "_channel":
            await bench.until(lambda: not bench.said[-1].problems and not bench.agent._trouble)

    if part == "_channel":
        bench.agent._channel.run = fails
    bench.run(act)
    assert bench.hands.stopped == [False]


def test_a_report_does_without_what_the_kernel_does_not_say(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_text", lambda _: "")

    async def act() -> None:
        await bench.until(lambda: bench.said)

    bench.run(act)
    assert not bench.said[-1].problems


def test_before_the_node_was_looked_at_controllers_are_told_nothing_and_the_status_says_why(bench: Bench) -> None:
    bench.hands.snapshot = Snapshot(is_looked=False, problems=("it does not work",))

    async def act() -> None:
        await bench.until(lambda: bench.agent.status is not None)

    bench.run(act)
    assert bench.agent.status.problems == ("it does not work",) and not bench.said


@pytest.mark.parametrize("keep", [False, True])
def test_who_is_told_to_stop_keeps_as_it_was_told_and_who_fails_keeps_all(bench: Bench, keep: bool) -> None:
    async def act() -> None:
        await bench.until(lambda: bench.said)

    bench.run(act, keep=keep)
    assert bench.hands.stopped == [keep]


def test_an_agent_that_ends_by_a_fault_leaves_all_to_the_next_run(bench: Bench) -> None:
    class Fatal(BaseException): ...

    def end(*_: object) -> None:
        raise Fatal

    bench.agent._believer.judge, judge = end, bench.agent._believer.judge
    bench.agent._believe = lambda: None
    bench.agent._look = lambda: end()
    with pytest.raises(BaseExceptionGroup):
        asyncio.run(bench.agent.run())
    assert bench.hands.stopped == [True] and judge
