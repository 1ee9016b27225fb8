"""A cookie holds its fields apart, and each mask finds what it is for and nothing of another owner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stitching import cookie
from stitching.cookie import KIND_MASK, OURS, OWNER_MASK, STITCH_MASK, Kind, pack

KINDS = st.sampled_from(Kind)
EPOCHS = st.integers(0, (1 << 16) - 1)
STITCHES = st.integers(0, (1 << 32) - 1)
COOKIES = st.tuples(KINDS, EPOCHS, STITCHES)


@given(COOKIES)
def test_what_was_packed_is_read_back(fields: tuple[Kind, int, int]) -> None:
    kind, epoch, stitch = fields
    packed = pack(kind, epoch=epoch, stitch=stitch)
    assert 0 <= packed < 1 << 64
    assert cookie.is_ours(packed)
    assert (cookie.kind_of(packed), packed >> 32 & 0xFFFF, cookie.stitch_of(packed)) == fields


@given(COOKIES, COOKIES)
def test_the_masks_select_by_stitch_and_by_kind(one: tuple[Kind, int, int], other: tuple[Kind, int, int]) -> None:
    ours = pack(one[0], epoch=one[1], stitch=one[2])
    theirs = pack(other[0], epoch=other[1], stitch=other[2])
    assert ours & OWNER_MASK == theirs & OWNER_MASK == OURS
    assert (ours & STITCH_MASK == theirs & STITCH_MASK) == (one[2] == other[2])
    assert (ours & KIND_MASK == theirs & KIND_MASK) == (one[0] == other[0])


@given(st.integers(0, (1 << 64) - 1), COOKIES)
def test_no_mask_selects_a_rule_of_another_owner(foreign: int, fields: tuple[Kind, int, int]) -> None:
    ours = pack(fields[0], epoch=fields[1], stitch=fields[2])
    if foreign >> 56 != ours >> 56:
        assert not cookie.is_ours(foreign)
        assert all(foreign & mask != ours & mask for mask in (OWNER_MASK, KIND_MASK, STITCH_MASK))


@pytest.mark.parametrize(("epoch", "stitch"), [(1 << 16, 0), (-1, 0), (0, 1 << 32), (0, -1)])
def test_a_field_that_does_not_fit_is_refused(epoch: int, stitch: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        pack(Kind.STITCH, epoch=epoch, stitch=stitch)
