"""Acting by planning: the world is left at its optimum, and lanes keep their own plans."""

import pytest
import torch
from planning_worlds import QuadraticWorld, TableWorld, cliff, place

from dreamgym.core.model import Transition
from dreamgym.core.tree import gather
from dreamgym.errors import InvalidArgument, MissingHead
from dreamgym.planners.mpc import ModelPredictiveControl
from dreamgym.planners.shooting import Cem, CemConfig, RandomShooting, ShootingConfig
from dreamgym.registry import PLANNERS

SMALL = CemConfig(horizon=6, num_candidates=100, num_elites=10, num_iterations=6)


def act(mpc: ModelPredictiveControl, state, steps: int) -> tuple[list, list]:
    """Return the actions that are done in each step and the states that they lead to."""
    actions, states = [], []
    for _ in range(steps):
        action = mpc.act_on(state)
        state = mpc.model.step(state, torch.as_tensor(action)).state
        actions.append(action[:, 0].tolist())
        states.append(state.x.tolist())
    return actions, states


def test_control_settles_where_staying_is_best():
    mpc = ModelPredictiveControl(QuadraticWorld(), Cem(SMALL))
    mpc.reset([0, 1, 2])
    actions, states = act(mpc, place(-3, 0, 5), 12)
    assert states[-1] == pytest.approx([1.0] * 3, abs=0.1)
    assert actions[-1] == pytest.approx([0.2] * 3, abs=0.15)  # 0.9 + 0.5 a = 1
    assert (mpc.decisions, mpc.blind, mpc.imagined) == (36, 0, 36 * 6 * 100 * 6)
    assert mpc.seconds > 0


def test_an_episode_depends_on_its_own_seed_whoever_else_is_there():
    world = QuadraticWorld(std=0.3)
    mpc = ModelPredictiveControl(world, Cem(SMALL))
    mpc.reset([3, 4, 5])
    state, noise = place(0, 1, 2), torch.randn(6, 3, 1, generator=torch.Generator().manual_seed(0))
    seen = []
    for t in range(6):
        action = torch.as_tensor(mpc.act_on(state))
        seen.append(action[-1].item())
        state = world.step(state, action, noise[t, -len(action) :]).state
        if t == 2:  # the first two episodes end
            mpc.keep(torch.tensor([2]))
            state = gather(state, torch.tensor([2]))
    mpc.reset([5])
    state = place(2)
    for t in range(6):
        action = mpc.act_on(state)
        assert action.item() == seen[t]
        state = world.step(state, torch.as_tensor(action), noise[t, 2:]).state


def test_every_step_draws_anew_and_a_reset_begins_the_same_again():
    config = ShootingConfig(horizon=1, num_candidates=2)
    mpc = ModelPredictiveControl(QuadraticWorld(), RandomShooting(config), warm=False)
    mpc.reset([0])
    first = [mpc.act_on(place(0)).item() for _ in range(4)]
    assert len(set(first)) == 4
    mpc.reset([0])
    assert [mpc.act_on(place(0)).item() for _ in range(4)] == first


def test_actions_come_in_env_units():
    mpc = ModelPredictiveControl(cliff(), RandomShooting(ShootingConfig(horizon=6)))
    mpc.reset([0, 1])
    action = mpc.act_on(place(0, 0))
    assert (action.tolist(), action.dtype) == ([0, 0], "int64")


def test_each_plan_is_told_and_kept():
    told = []
    mpc = ModelPredictiveControl(QuadraticWorld(), Cem(SMALL), on_plan=told.append)
    mpc.reset([0])
    mpc.act_on(place(0))
    mpc.act_on(place(1))
    assert len(told) == 2
    assert mpc.plan is told[1]


def test_decisions_without_a_finite_plan_are_counted():
    mpc = ModelPredictiveControl(TableWorld(after=[[0], [1]], reward=[[float("nan")], [1.0]]), Cem(SMALL))
    mpc.reset([0, 1])
    assert mpc.act_on(place(0, 1)).tolist() == [0, 0]
    assert (mpc.blind, mpc.decisions) == (1, 2)


def test_other_lanes_than_were_begun_are_refused():
    mpc = ModelPredictiveControl(QuadraticWorld(), Cem(SMALL))
    with pytest.raises(InvalidArgument, match="state has 2 lanes; 0 episodes were begun by reset"):
        mpc.act_on(place(0, 1))


class Headless(TableWorld):
    def __init__(self, missing: str) -> None:
        super().__init__(after=[[0, 0]], reward=[[0.0, 1.0]])
        self.missing, self.differentiable = missing, True

    def step(self, state, action, noise=None, temperature=1.0) -> Transition:
        out = super().step(state, action, noise, temperature)
        return Transition(**{**vars(out), self.missing: None})


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("missing", ["reward", "termination"])
def test_a_model_without_a_head_is_refused_by_every_planner(name, missing):
    planner = PLANNERS.load(name)()
    with pytest.raises(
        MissingHead, match=f"Headless.step gave no {missing}; a dream needs one, and zeros are never made"
    ):
        planner.plan(Headless(missing), place(0), torch.tensor([0]))


@pytest.mark.parametrize("name", PLANNERS)
def test_a_model_that_draws_nothing_can_be_planned_with(name):
    world = cliff()
    world.noise_dim = 0
    if name == "gradient":
        world = QuadraticWorld()
        world.noise_dim = 0
    plan = PLANNERS.load(name)().plan(world, place(0, 0), torch.arange(2))
    assert plan.finite.all()
    assert plan.actions.shape[:2] == (2, 20)


@pytest.mark.parametrize("name", PLANNERS)
def test_seeds_and_last_plans_must_be_of_these_lanes(name):
    planner = PLANNERS.load(name)()
    with pytest.raises(InvalidArgument, match=r"seed has shape \(3,\); expected \(2,\), one for each lane"):
        planner.plan(cliff(), place(0, 0), torch.arange(3))
    small = Cem(SMALL).plan(cliff(), place(0), torch.tensor([0]))
    with pytest.raises(InvalidArgument, match="warm is a plan for 1 lanes; expected one for 2"):
        planner.plan(cliff(), place(0, 0), torch.arange(2), small)
