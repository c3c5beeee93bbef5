"""Adam that touches its own weights and nothing else."""

import math

import pytest
import torch
from torch import nn

from dreamgym.core.optimizer import ClippedAdam
from dreamgym.errors import TrainingFailed


def test_a_step_changes_its_own_weights_only():
    ours, others = nn.Linear(2, 1), nn.Linear(2, 2)
    before = others.weight.clone(), ours.weight.clone()
    ClippedAdam(ours.parameters(), 0.1, 100).step(ours(others(torch.ones(3, 2))).sum())
    assert torch.equal(others.weight, before[0])
    assert others.weight.grad is None
    assert not torch.equal(ours.weight, before[1])


def test_a_first_step_is_as_long_as_the_learning_rate_and_goes_downhill():
    weight = nn.Parameter(torch.tensor([1.0, -1.0]))
    ClippedAdam([weight], 0.1, 100).step((weight * torch.tensor([3.0, -500.0])).sum())
    assert torch.allclose(weight, torch.tensor([0.9, -0.9]))


def test_layers_that_keep_derived_weights_see_the_step():
    weight = nn.Parameter(torch.ones(2))
    version = weight._version
    ClippedAdam([weight], 0.1, 100).step(weight.sum())
    assert weight._version > version


def test_an_optimiser_goes_on_where_another_one_stopped():
    one, two = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    first = ClippedAdam([one], 0.1, 100)
    for factor in (1.0, -4.0):
        first.step((one.square() * factor).sum())
    with torch.no_grad():
        two.copy_(one)
    second = ClippedAdam([two], 0.1, 100)
    second.load_state({name: x.clone() for name, x in first.state().items()})
    first.step(one.square().sum())
    second.step(two.square().sum())
    assert torch.equal(one, two)


def test_what_is_not_finite_is_named_and_leaves_the_weights_alone():
    weight = nn.Parameter(torch.zeros(2))
    adam = ClippedAdam([weight], 0.1, 100)
    with pytest.raises(TrainingFailed, match="^reward is inf at update 3; expected a finite number. Rest.$"):
        adam.step(weight.sum(), {"reward": torch.tensor(math.inf)}, "at update 3", lambda: "Rest.")
    with pytest.raises(TrainingFailed, match="the norm of the gradient is inf at update 3"):
        adam.step(weight.sqrt().sum(), {}, "at update 3")
    assert weight.tolist() == [0, 0]
