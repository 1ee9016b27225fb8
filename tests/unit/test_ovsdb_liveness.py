"""A port is dead when BFD of a session that was up says so, and never because BFD is just coming up."""

from hypothesis import given
from hypothesis import strategies as st

from ryu_apps.ovsdb.liveness import MOST_DOWNS, QUIET_S, Liveness

PORT = (1, 2)


class Clock:
    """Turns by step_s each time it is read."""

    def __init__(self, step_s: float = 100.0) -> None:
        self.step_s, self.now_s = step_s, 0.0

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def trusted(clock: Clock | None = None) -> Liveness:
    liveness = Liveness(clock or Clock())
    assert liveness.port(PORT, True) is None
    assert liveness.session(PORT, True) is None
    return liveness


def test_a_session_that_was_up_is_believed_when_it_goes_down() -> None:
    liveness = trusted()
    assert liveness.port(PORT, False) is False
    assert liveness.dead == {PORT}
    assert liveness.port(PORT, True) is True
    assert not liveness.dead


def test_a_session_that_comes_up_is_no_dead_link() -> None:
    liveness = Liveness(Clock())
    liveness.port(PORT, True)
    for said in (liveness.session(PORT, False), liveness.port(PORT, False), liveness.port(PORT, True)):
        assert said is None
    liveness.session(PORT, True)
    assert liveness.trusted == {PORT}


def test_a_port_without_bfd_says_nothing() -> None:
    liveness = Liveness(Clock())
    liveness.port(PORT, True)
    assert liveness.port(PORT, False) is None
    liveness = trusted()
    liveness.session(PORT, None)
    assert liveness.port(PORT, False) is None


def test_the_database_is_late_and_does_not_kill_a_link_that_is_back() -> None:
    liveness = trusted()
    assert liveness.port(PORT, False) is False
    assert liveness.port(PORT, True) is True
    assert liveness.session(PORT, False) is None
    assert liveness.port(PORT, False) is False


def test_a_switch_that_comes_back_has_to_show_that_its_sessions_are_up() -> None:
    liveness = trusted()
    liveness.gone(PORT[0])
    assert liveness.port(PORT, False) is None
    assert liveness.session(PORT, True) is None
    assert liveness.port(PORT, True) is None
    assert liveness.port(PORT, False) is False


def test_a_session_that_goes_down_again_and_again_is_not_believed_until_it_is_quiet() -> None:
    clock = Clock(0.1)
    liveness = trusted(clock)
    said = [liveness.port(PORT, live) for _ in range(MOST_DOWNS) for live in (False, True)]
    assert said == MOST_DOWNS * [False, True]
    assert liveness.port(PORT, False) is None and liveness.unsteady == {PORT}
    assert liveness.port(PORT, True) is None
    clock.now_s += QUIET_S
    assert not liveness.unsteady
    assert liveness.port(PORT, False) is False


STEPS = st.lists(
    st.tuples(st.just("port"), st.booleans())
    | st.tuples(st.just("session"), st.sampled_from((None, True, False)))
    | st.tuples(st.just("gone"), st.none())
)


@given(STEPS)
def test_what_is_told_alternates_and_needs_a_session_that_was_up(steps: list[tuple[str, bool | None]]) -> None:
    liveness, told, was_up, live, up = Liveness(Clock()), True, False, None, None
    for what, value in steps:
        if what == "gone":
            liveness.gone(PORT[0])
            live, was_up, told = None, False, True
            continue
        if what == "port":
            live = value
            said = liveness.port(PORT, bool(value))
        else:
            up = value
            said = liveness.session(PORT, value)
        was_up = (was_up or bool(up and live)) and up is not None and live is not None
        if said is not None:
            assert said is not told
            told = said
        assert (PORT in liveness.dead) == (was_up and not live)
