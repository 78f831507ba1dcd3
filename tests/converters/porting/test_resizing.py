"""Inputs of other sizes: which sizes change, and with which values."""

import pytest
import torch

from converters.porting.resizing import changes, resized


def shapes(**arguments):
    """The shapes that are tried, in their order, without those that were tried already."""
    found = []
    for change in changes(arguments):
        made = tuple(tuple(each.shape) for each in resized(arguments, change.sizes).values())
        if made not in found:
            found.append(made)
    return found


def test_images_change_to_small_ones_that_are_as_divisible():
    assert shapes(x=torch.ones(2, 3, 224, 96))[0] == ((3, 3, 64, 128),)


def test_images_that_must_not_be_small_become_larger():
    assert ((3, 3, 256, 288),) in shapes(x=torch.ones(2, 3, 224, 224))


def test_height_and_width_become_different():
    _, _, height, width = shapes(x=torch.ones(2, 3, 64, 64))[0][0]
    assert height != width


def test_texts_and_their_masks_change_together():
    assert shapes(ids=torch.ones(2, 8, dtype=torch.int64), mask=torch.ones(2, 1, 8, 8))[0] == (
        (3, 16),
        (3, 1, 16, 16),
    )


def test_lengths_that_cannot_grow_become_shorter():
    assert ((3, 4),) in shapes(ids=torch.ones(2, 8, dtype=torch.int64))


def test_sequences_have_their_axis_second_or_third():
    found = shapes(x=torch.ones(2, 8, 16))
    assert ((3, 16, 16),) in found
    assert ((3, 8, 32),) in found


def test_states_change_with_the_batch_where_it_is():
    assert shapes(x=torch.ones(2, 5), state=torch.ones(1, 2, 4))[-2] == ((3, 5), (1, 2, 4))
    assert ((3, 5), (1, 3, 4)) in shapes(x=torch.ones(2, 5), state=torch.ones(1, 2, 4))


def test_graphs_change_both_axes_of_an_adjacency():
    assert shapes(x=torch.ones(8, 5), adjacency=torch.ones(8, 8))[0] == ((9, 5), (9, 9))


def test_the_last_change_is_none():
    assert shapes(x=torch.ones(2, 3, 4, 4))[-1] == ((2, 3, 4, 4),)


def test_values_of_masks_and_ids_stay_those_given():
    ids, mask = torch.tensor([[3, 7]]), torch.tensor([[0.0, -torch.inf, 1.0]])
    made = resized({"ids": ids, "mask": mask}, {(0, 1): 5, (1, 0): 2})
    assert set(made["ids"].flatten().tolist()) == {3, 7}
    assert torch.equal(made["mask"], mask.repeat(2, 1))


def test_copies_in_a_batch_differ():
    made = resized({"x": torch.full((1, 4), 2.0)}, {(0, 0): 2})["x"]
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("tree", [(torch.ones(2, 3),), [torch.ones(2, 3)], {"a": torch.ones(2, 3)}])
def test_nested_inputs_keep_their_nesting(tree):
    (made,) = resized({"x": tree}, {(0, 0): 3}).values()
    assert type(made) is type(tree)
    (tensor,) = made.values() if isinstance(made, dict) else made
    assert tensor.shape == (3, 3)
