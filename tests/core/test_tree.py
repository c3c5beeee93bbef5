"""Walking states: nested dataclasses and dicts of tensors, or of arrays for worlds of text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamgym.core import tree


@dataclass(frozen=True)
class Inner:
    text: Any
    tokens: Tensor


@dataclass(frozen=True)
class Outer:
    inner: Inner
    memory: dict[str, Tensor]


def state() -> Outer:
    text = np.array(["a", "b", "c"], dtype=object)
    return Outer(Inner(text, torch.tensor([1, 2, 3])), {"h": torch.arange(6.0).view(3, 2)})


def test_named_leaves_are_named_by_their_path_in_the_order_of_the_fields():
    assert list(tree.named_leaves(state())) == ["inner.text", "inner.tokens", "memory.h"]


def test_from_named_leaves_undoes_named_leaves():
    leaves = tree.named_leaves(state())
    again = tree.from_named_leaves(state(), leaves)
    assert isinstance(again.inner, Inner)
    assert again.memory["h"] is leaves["memory.h"]
    with pytest.raises(KeyError, match=r"memory\.h"):
        tree.from_named_leaves(state(), {k: v for k, v in leaves.items() if k != "memory.h"})


def test_a_branch_has_the_leaves_that_lie_in_it_by_their_names_there():
    leaves = tree.named_leaves({"a": {"b": 1, "c.d": 2}, "ab": {"c": 3}})
    assert tree.branch(leaves, "a") == {"b": 1, "c.d": 2}
    assert tree.branch(leaves, "ab") == {"c": 3}


def test_where_picks_lanes_of_tensors_and_arrays():
    one, two = state(), tree.gather(state(), torch.tensor([2, 2, 2]))
    picked = tree.where(torch.tensor([True, False, True]), one, two)
    assert picked.inner.text.tolist() == ["a", "c", "c"]
    assert picked.inner.tokens.tolist() == [1, 3, 3]
    assert picked.memory["h"].tolist() == [[0, 1], [4, 5], [4, 5]]


def test_gather_repeats_and_reorders_lanes_in_new_memory():
    one = state()
    two = tree.gather(one, torch.tensor([2, 0, 0, 1]))
    assert two.inner.text.tolist() == ["c", "a", "a", "b"]
    assert tree.num_lanes(two) == 4
    two.memory["h"].zero_()
    assert one.memory["h"].sum() == 15


def test_concatenate_puts_lanes_side_by_side():
    both = tree.concatenate([state(), tree.gather(state(), torch.tensor([1]))])
    assert both.inner.text.tolist() == ["a", "b", "c", "b"]
    assert both.memory["h"].shape == (4, 2)


def test_a_clone_shares_no_memory():
    one = state()
    two = tree.clone(one)
    two.inner.text[0], two.inner.tokens[0] = "z", 9
    assert (one.inner.text[0], one.inner.tokens[0].item()) == ("a", 1)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_lane_is_finite_if_all_of_its_numbers_are(bad):
    one = state()
    one.memory["h"][1, 0] = bad
    assert tree.finite_lanes(one).tolist() == [True, False, True]
    one.memory["h"][1] = torch.tensor([torch.inf, -torch.inf])
    assert tree.finite_lanes(one).tolist() == [True, False, True]
    assert tree.finite_lanes({"reward": torch.tensor([0.0, bad])}).tolist() == [True, False]
    several = {"h": torch.zeros(3, 2), "reward": torch.tensor([0.0, bad, 0.0]), "z": torch.tensor([bad, 0.0, 0.0])}
    assert tree.finite_lanes(several).tolist() == [False, False, True]


def test_lanes_without_fractions_are_finite_on_their_own_device():
    assert tree.finite_lanes({"tokens": torch.zeros(3, 2, dtype=torch.int64)}).tolist() == [True] * 3
    assert tree.finite_lanes({"text": np.array(["a", "b"], dtype=object)}).tolist() == [True] * 2
    assert tree.finite_lanes({"tokens": torch.zeros(3, dtype=torch.int64, device="meta")}).device.type == "meta"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_anywhere_that_is_not_finite_is_known(value: float) -> None:
    numbers = {"a": torch.zeros(3, 4), "b": torch.zeros(3), "count": torch.ones(3, dtype=torch.long)}
    assert tree.known_finite(numbers)
    for name in ("a", "b"):
        spoilt = {**numbers, name: numbers[name].index_fill(0, torch.tensor([1]), value)}
        assert not tree.known_finite(spoilt)
    assert not tree.known_finite({"a": torch.zeros(3, device="meta")})  # nobody has looked


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [([0.0, 1.0, -0.5], torch.float8_e4m3fn), ([0.1, 3.0], torch.float16), ([1e6, 0.1], torch.float32)],
)
def test_compact_takes_the_smallest_type_that_serves_and_widen_undoes_it(numbers: list[float], kept: torch.dtype):
    small = tree.compact(torch.tensor(numbers))
    assert small.dtype == kept
    assert tree.widen(small).dtype == torch.float32
    assert torch.allclose(tree.widen(small), torch.tensor(numbers), atol=1e-4)


def test_none_has_no_leaves_and_stays_none():
    part = {"h": torch.arange(3.0), "none": None}
    assert list(tree.named_leaves(part)) == ["h"]
    assert len(list(tree.leaves(part))) == 1
    picked = tree.gather(part, torch.tensor([2, 0]))
    assert picked["none"] is None
    assert picked["h"].tolist() == [2, 0]
    assert tree.from_named_leaves(part, {"h": 5})["none"] is None


def test_a_state_lies_where_its_first_leaf_lies():
    assert tree.device_of({"h": torch.zeros(2, device="meta"), "c": torch.zeros(2)}).type == "meta"
    assert tree.device_of(Inner(np.array(["a"]), torch.zeros(1))) is None


def test_what_was_stored_is_stored_alike_again():
    nearly = torch.tensor([-10.001, 0.3]), torch.tensor([-10.001, 2.0])  # float16 rounds the latter to what 8 bits hold
    for leaf in nearly:
        stored = tree.compact(leaf)
        again = tree.compact(tree.widen(stored))
        assert again.dtype == stored.dtype
        assert torch.equal(tree.widen(again), tree.widen(stored))
