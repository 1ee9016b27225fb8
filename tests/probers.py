"""A prober that runs, as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vte_agent.probing.prober import Prober


@pytest.fixture
def prober() -> Iterator[Prober]:
    made = Prober(lambda _: None)
    made.start()
    assert made.health() == {}
    yield made
    made.stop()
