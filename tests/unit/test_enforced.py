"""What is said of a stitch with two promises: by what each of them is enforced, the one that fails too."""

from __future__ import annotations

import pytest

from stitching.enforced import Together, Verdict, together

DEAD: Verdict = ("none", "counts nothing")
METER: Verdict = ("meter", "counts")
QUEUE: Verdict = ("queue", "is set")
UNSET: Verdict = ("none", "no server")


@pytest.mark.parametrize("cap", [METER, DEAD])
@pytest.mark.parametrize("guarantee", [QUEUE, UNSET])
def test_of_two_promises_each_is_told_by_itself(cap: Verdict, guarantee: Verdict) -> None:
    said = together(cap, guarantee)
    assert (said.by, said.cap_by) == (guarantee[0], cap[0])
    assert cap[1] in said.why and guarantee[1] in said.why


def test_a_single_promise_is_told_alone() -> None:
    assert together(METER, None) == Together(*METER)
    assert together(None, QUEUE) == Together(*QUEUE)
    assert together(None, None).by == "none"
