from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opdkit.functional.supports import intersect_supports, join_supports


def test_keeps_the_first_part_in_its_order_and_masks_later_copies():
    ids, mask = join_supports([torch.tensor([[5, 3], [2, 4]]), torch.tensor([[3, 7], [9, 2]])])
    assert ids.tolist() == [[5, 3, 5, 7], [2, 4, 9, 2]]
    assert mask.tolist() == [[True, True, False, True], [True, True, True, False]]


def test_a_filler_neither_counts_nor_hides_the_id_it_holds():
    ids, mask = join_supports([torch.tensor([[1, 8]]), torch.tensor([[8, 6]])], [torch.tensor([[True, False]]), None])
    assert mask.tolist() == [[True, False, True, True]]
    assert ids[mask].tolist() == [1, 8, 6]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_is_the_union_of_sets(data: st.DataObject):
    source = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    widths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    parts = [torch.randint(0, 9, (2, 3, width), generator=source) for width in widths]
    masks = [torch.rand(part.shape, generator=source) < 0.7 for part in parts]
    ids, mask = join_supports(parts, masks)
    for row in range(2):
        for step in range(3):
            kept = ids[row, step][mask[row, step]].tolist()
            wanted = {i for p, m in zip(parts, masks, strict=True) for i in p[row, step][m[row, step]].tolist()}
            assert sorted(kept) == sorted(wanted)
    assert torch.equal(torch.where(mask, ids[..., :1], ids), ids[..., :1].expand_as(ids))


def test_as_many_masks_as_parts():
    with pytest.raises(ValueError, match="zip"):
        join_supports([torch.tensor([[1]]), torch.tensor([[2]])], [None])


def test_fillers_of_the_other_support_are_not_shared():
    kept, other = torch.tensor([[5, 3, 2]]), torch.tensor([[3, 5]])
    assert intersect_supports(kept, other)[1].tolist() == [[True, True, False]]
    assert intersect_supports(kept, other, torch.tensor([[True, False]]))[1].tolist() == [[False, True, False]]
