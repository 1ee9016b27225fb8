"""Goes on with stitches where the controller stopped."""

from __future__ import annotations

from dataclasses import replace

from ryu_apps.stitches.life import CARRYING_ON, Life, most_important_first
from stitching.decisions import ORIGIN
from stitching.kinds import rivals
from stitching.routes import CARRYING
from stitching.stitch import ENDED, State, Stitch

_REASON = "the controller was restarted"


def take_up(life: Life) -> None:
    """Take up the stitches that were stored."""
    stitches = sorted(life.book.load(), key=most_important_first)
    asked = [s.request for s in stitches if s.request.origin != ORIGIN and s.state not in ENDED]
    for stitch in stitches:
        of_trigger = stitch.request.origin == ORIGIN and stitch.state not in ENDED
        if of_trigger and (stitch.state not in CARRYING_ON or any(rivals(r, (stitch,)) for r in asked)):
            # It makes another where one is still needed.
            life.book.put(replace(stitch, state=State.TERMINATED, path=None, reason=_REASON))
        else:
            _resume(life, stitch)


def _resume(life: Life, stitch: Stitch) -> None:
    """What is in the data plane stays, what is half made is made whole."""
    unlabelled = stitch.path is not None and stitch.path.links and not stitch.path.label
    if stitch.state in CARRYING and stitch.path is not None and not unlabelled:
        life.planner.admission.book_again(stitch, stitch.path)
        life.changes.want(stitch)
        life.prover.watch(stitch)
    elif stitch.state is State.TERMINATING:
        # Nobody wants its rules any more, so the installer finds them in excess.
        life.book.put(stitch.to(State.TERMINATED, life.clock(), reason=stitch.reason))
    elif stitch.state is State.REQUESTED:
        life.idle.rest(stitch.id)
    elif stitch.state not in ENDED and stitch.state is not State.FAILED:
        life.book.put(replace(stitch, state=State.FAILED, path=None, reason=_REASON))
