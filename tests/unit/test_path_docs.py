"""The example in docs/paths.md runs as it is written and says what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pathing

DOCS = Path(__file__).parents[2] / "docs" / "paths.md"


def test_the_first_example_runs_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[0]
    exec(compile(code, str(DOCS), "exec"), {})  # noqa: S102 - our own page
    constrained, disjoint, routed = capsys.readouterr().out.splitlines()
    assert f"# {constrained}" in code
    assert disjoint == "[('a', 'b', 'd'), ('a', 'c', 'd')]"
    assert routed.startswith("fullest link 75%, at least 75%")


def test_every_error_that_the_page_names_can_be_imported() -> None:
    paragraph = DOCS.read_text().partition("Errors are")[2].partition("\n\n")[0]
    errors = set(re.findall(r"`([A-Z]\w+?)s?`", paragraph))
    assert "Undecided" in errors
    assert all(issubclass(getattr(pathing, name), pathing.PathingError) for name in errors)
