"""The penalty for disagreement: what it takes away and what it leaves alone."""

from dataclasses import replace

import pytest
import torch
from dreamgym.wrappers.penalize_disagreement import PenalizeDisagreement
from target import TargetState, TargetWorld

from dreamgym.core.check import check_world_model
from dreamgym.core.model import Transition
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.errors import InvalidArgument, MissingHead
from dreamgym.registry import WRAPPERS


class Doubtful(ModelWrapper[TargetState]):
    """A target world whose members disagree by the size of the action."""

    def step(self, state, action, noise=None, temperature=1.0) -> Transition[TargetState]:
        out = self.model.step(state, action, noise, temperature)
        return replace(out, info={"disagreement": action[:, 0].abs()})


def test_the_reward_falls_by_the_weight_times_the_disagreement() -> None:
    world = Doubtful(TargetWorld())
    state, action, noise = TargetState(torch.randn(64, 1)), torch.rand(64, 1) * 2 - 1, torch.randn(64, 1)
    plain, taxed = world.step(state, action, noise), PenalizeDisagreement(world, 3.0).step(state, action, noise)
    assert torch.allclose(taxed.reward, plain.reward - 3 * action[:, 0].abs())
    assert torch.equal(taxed.state.x, plain.state.x)
    assert torch.equal(taxed.info["disagreement"], plain.info["disagreement"])


def test_a_model_that_never_doubts_is_refused_by_name() -> None:
    with pytest.raises(MissingHead, match="TargetWorld.step reports no 'disagreement'"):
        PenalizeDisagreement(TargetWorld()).step(TargetState(torch.zeros(1, 1)), torch.zeros(1, 1))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_rewards_ignorance_is_refused(weight: float) -> None:
    with pytest.raises(InvalidArgument, match=f"weight is {weight}; expected a finite number of at least 0"):
        PenalizeDisagreement(TargetWorld(), weight)


def test_it_is_registered_and_keeps_the_contract() -> None:
    assert WRAPPERS.load("penalize_disagreement") is PenalizeDisagreement
    check_world_model(PenalizeDisagreement(Doubtful(TargetWorld())))
