"""Fixtures of what is asked and changed of an overlay by REST."""

from __future__ import annotations

import pytest

from tests.unit.overlay_answer import an_overlay
from tests.unit.test_rest_fake import Caller, FakeController, api_of


@pytest.fixture
def controller() -> FakeController:
    return FakeController(overlay=an_overlay())


@pytest.fixture
def call(controller: FakeController) -> Caller:
    return Caller(api_of(controller))
