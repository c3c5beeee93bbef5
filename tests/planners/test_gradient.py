"""Gradient ascent on actions: to the top of an exact world, within its bounds, never through what is not finite."""

import re

import numpy as np
import pytest
import torch
from planning_worlds import QuadraticWorld, TableWorld, cliff, place

from dreamgym.core.model import Transition
from dreamgym.errors import InvalidArgument, InvalidModel
from dreamgym.planners.gradient import GradientAscent, GradientConfig

SEEDS = torch.arange(3)


class Differentiable(TableWorld):
    """A table whose rewards and ends are read by weights, so that gradients reach the action."""

    differentiable = True

    def step(self, state, action, noise=None, temperature=1.0) -> Transition:
        out = super().step(state, action, noise, temperature)
        row = state.x.long()
        return Transition(out.state, (self.reward[row] * action).sum(1), (self.termination[row] * action).sum(1))


def test_the_best_plan_of_a_quadratic_world_is_found():
    planner = GradientAscent(GradientConfig(horizon=3, num_iterations=80))
    plan = planner.plan(QuadraticWorld(), place(-0.5, 0.0, 2.0), SEEDS)
    for lane, x in enumerate((-0.5, 0.0, 2.0)):
        actions, value = QuadraticWorld.best(x, 3)
        assert np.abs(plan.actions[lane, :, 0].numpy() - actions).max() < 0.05
        assert plan.value[lane].item() == pytest.approx(value, abs=1e-3)
    assert plan.imagined.tolist() == [81 * 8 * 3] * 3


def test_actions_stay_within_their_bounds():
    plan = GradientAscent(GradientConfig(horizon=4, num_iterations=60)).plan(
        QuadraticWorld(), place(-80, 80), SEEDS[:2]
    )
    assert plan.actions[:, :, 0].tolist() == [[4.0] * 4, [-4.0] * 4]


def test_discrete_actions_are_found_by_the_gradient_of_their_softmax():
    world = Differentiable(after=[[0] * 6], reward=[[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]])
    planner = GradientAscent(GradientConfig(horizon=4, num_candidates=1, num_iterations=150))
    plan = planner.plan(world, place(0, 0, 0), SEEDS)
    assert plan.actions.argmax(2).tolist() == [[5] * 4] * 3
    assert plan.value.tolist() == [4.0] * 3
    assert set(plan.actions.unique().tolist()) == {0.0, 1.0}


def test_an_end_that_takes_later_rewards_away_is_avoided():
    world = cliff()
    world = Differentiable(world.after.tolist(), world.reward.tolist(), world.termination.tolist())
    plan = GradientAscent(GradientConfig(horizon=8, num_iterations=40)).plan(world, place(0), SEEDS[:1])
    assert plan.actions.argmax(2).tolist() == [[0] * 7 + [1]]
    assert plan.value.item() == pytest.approx(10.0)


def test_what_is_not_finite_is_neither_climbed_nor_chosen():
    world = QuadraticWorld(cliff=0.3, bait=1000.0)
    plan = GradientAscent(GradientConfig(horizon=2, learning_rate=0.01)).plan(world, place(0, 0, 0), SEEDS)
    assert plan.finite.all()
    assert 0.0 < plan.actions[:, 0].min() <= plan.actions.max() <= 0.3
    hopeless = GradientAscent(GradientConfig(horizon=2)).plan(QuadraticWorld(cliff=-9.0), place(0, 0), SEEDS[:2])
    assert hopeless.finite.tolist() == [False, False]
    assert hopeless.value.isnan().all()
    assert hopeless.actions.tolist() == [[[0.0], [0.0]]] * 2


def test_no_action_that_is_not_finite_is_ever_tried():
    class Strict(QuadraticWorld):
        def step(self, state, action, noise=None, temperature=1.0) -> Transition:
            assert action.isfinite().all()
            return super().step(state, action, noise, temperature)

    assert GradientAscent(GradientConfig(horizon=2)).plan(Strict(cliff=0.3), place(0), SEEDS[:1]).finite.all()


def test_a_candidate_that_diverges_leaves_the_others_alone():
    calm, wild = QuadraticWorld(), QuadraticWorld(cliff=3.9)
    planner = GradientAscent(GradientConfig(horizon=3, num_iterations=30))
    plans = [planner.plan(world, place(0.0), torch.tensor([2])) for world in (calm, wild)]
    assert torch.allclose(plans[0].actions, plans[1].actions, atol=0.05)


def test_a_lane_does_not_depend_on_the_others():
    planner, world = GradientAscent(GradientConfig(horizon=3, num_iterations=5)), QuadraticWorld(std=0.5)
    together = planner.plan(world, place(-1, 0, 2), torch.tensor([4, 0, 9]))
    alone = planner.plan(world, place(0), torch.tensor([0]))
    assert torch.allclose(alone.actions[0], together.actions[1], atol=1e-6)
    assert not torch.equal(together.actions[0], planner.plan(world, place(-1), torch.tensor([5])).actions[0])


def test_a_warm_start_begins_at_the_last_plan():
    world, config = QuadraticWorld(), GradientConfig(horizon=5, num_candidates=1, num_iterations=1, learning_rate=1e-6)
    last = GradientAscent(GradientConfig(horizon=5, num_iterations=100)).plan(world, place(-1), SEEDS[:1])
    after = GradientAscent(config).plan(world, place(0.0), SEEDS[:1], last)
    assert torch.allclose(after.actions[0, :4], last.actions[0, 1:], atol=1e-4)
    table = Differentiable(after=[[0, 0, 0]], reward=[[0.0, 0.0, 0.0]])
    wanted = torch.eye(3)[torch.tensor([[0, 2, 1, 2, 0]])]
    kept = GradientAscent(config).plan(table, place(0), SEEDS[:1], type(last)(wanted, *[torch.ones(1)] * 3))
    assert kept.actions.argmax(2).tolist() == [[2, 1, 2, 0, 0]]


def test_nothing_of_the_search_is_left_behind():
    world = QuadraticWorld()
    weight = torch.nn.Parameter(torch.ones(()))
    planner = GradientAscent(GradientConfig(horizon=2), lambda features: weight * features[:, 0])
    plan = planner.plan(world, place(0), SEEDS[:1])
    assert weight.grad is None
    assert not plan.actions.requires_grad
    assert not plan.value.requires_grad


def test_a_model_without_gradients_is_refused_by_name():
    with pytest.raises(InvalidArgument, match="TableWorld says that it is not differentiable; GradientAscent needs"):
        GradientAscent().plan(cliff(), place(0), SEEDS[:1])


def test_a_model_that_only_says_that_it_is_differentiable_is_found_out():
    world = cliff()
    world.differentiable = True
    with pytest.raises(InvalidModel, match="no gradient of TableWorld's rewards reaches the action"):
        GradientAscent().plan(world, place(0), SEEDS[:1])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_iterations": 0}, "num_iterations is 0; expected at least 1."),
        ({"num_candidates": 0}, "num_candidates is 0; expected at least 1."),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; expected a finite number above 0."),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(options, told):
    with pytest.raises(InvalidArgument, match=re.escape(told)):
        GradientAscent(GradientConfig(**options))
