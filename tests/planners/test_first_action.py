"""Rollouts: first actions are judged by the mean over the same random continuations."""

import numpy as np
import pytest
import torch
from planning_worlds import QuadraticWorld, TableWorld, cliff, place

from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.planners.first_action import Rollout, RolloutConfig
from dreamgym.planners.shooting import RandomShooting, ShootingConfig


def test_an_action_is_worth_the_mean_of_what_follows_it_at_random():
    world = TableWorld(
        after=[[1, 2], [0, 2], [1, 1]],
        reward=[[1.0, 0.0], [0.5, 2.0], [3.0, -1.0]],
        termination=[[0.0, 0.1], [0.3, 0.0], [0.0, 0.2]],
    )

    def mean(at: int, left: int) -> float:
        return 0.0 if left == 0 else float(np.mean([worth(at, action, left) for action in (0, 1)]))

    def worth(at: int, action: int, left: int) -> float:
        alive = 1 - float(world.termination[at, action])
        return float(world.reward[at, action]) + 0.9 * alive * mean(int(world.after[at, action]), left - 1)

    planner = Rollout(RolloutConfig(horizon=4, num_candidates=8000, discount=0.9))
    plan = planner.plan(world, place(0, 1, 2), torch.arange(3))
    expected = [[worth(at, action, 4) for action in (0, 1)] for at in range(3)]
    assert plan.info["worth"].numpy() == pytest.approx(np.array(expected), abs=0.06)
    assert plan.action.argmax(1).tolist() == np.argmax(expected, 1).tolist()
    assert plan.value.tolist() == pytest.approx(plan.info["worth"].amax(1).tolist())
    assert plan.imagined.tolist() == [8000 * 4] * 3


def test_what_can_be_saved_either_way_is_left_where_it_is_saved_more_often():
    # from 1 everything earns 1, from 2 a third of the actions do: the best sequences through either earn the same
    world = TableWorld(
        after=[[2, 1, 2], [3, 3, 3], [3, 3, 3], [3, 3, 3]], reward=[[0] * 3, [1] * 3, [1, 0, 0], [0] * 3]
    )
    seeds, start = torch.arange(20), place(*[0] * 20)
    plan = Rollout(RolloutConfig(horizon=2, num_candidates=30)).plan(world, start, seeds)
    assert plan.action.argmax(1).eq(1).all()
    best = RandomShooting(ShootingConfig(horizon=2, num_candidates=30)).plan(world, start, seeds)
    assert not best.action.argmax(1).eq(1).all()


def test_all_first_actions_meet_the_same_continuations_and_the_same_luck():
    world = TableWorld(after=[[0, 0]], reward=[[0.0, 1.0]], std=3.0)
    plan = Rollout(RolloutConfig(horizon=5, num_candidates=6, num_futures=2)).plan(world, place(0, 0), torch.arange(2))
    worth = plan.info["worth"]
    assert (worth[:, 1] - worth[:, 0]).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert abs(float(worth[0, 0] - worth[1, 0])) > 1e-3


def test_the_plan_is_the_best_sequence_that_begins_with_the_action():
    plan = Rollout(RolloutConfig(horizon=3, num_candidates=200)).plan(cliff(), place(0), torch.tensor([0]))
    assert plan.actions.argmax(2).tolist() == [[0, 0, 1]]


def test_continuations_that_are_not_finite_are_left_out_and_an_action_without_any_other_ranks_last():
    nan = float("nan")
    world = TableWorld(after=[[1, 2], [1, 1], [2, 2]], reward=[[0, 0], [1, nan], [nan, nan]])
    plan = Rollout(RolloutConfig(horizon=2, num_candidates=40)).plan(world, place(0, 2), torch.arange(2))
    assert plan.finite.tolist() == [True, False]
    assert plan.info["worth"][0, 0].item() == 1
    assert plan.info["worth"].isnan().tolist() == [[False, True], [True, True]]
    assert plan.action[0].tolist() == [1, 0]
    assert plan.value.isnan().tolist() == [False, True]


def test_where_nothing_is_finite_the_last_plan_goes_on():
    planner = Rollout(RolloutConfig(horizon=2, num_candidates=4))
    last = planner.plan(TableWorld(after=[[0, 0]], reward=[[0, 1]]), place(0), torch.tensor([0]))
    world = TableWorld(after=[[0, 0]], reward=[[float("nan")] * 2])
    assert planner.plan(world, place(0), torch.tensor([0]), last).action.tolist() == [last.actions[0, 1].tolist()]


def test_a_lane_does_not_depend_on_the_others():
    world, planner = TableWorld(after=[[0, 0]], reward=[[0.0, 0.1]], std=1.0), Rollout(RolloutConfig(horizon=4))
    together = planner.plan(world, place(0, 0, 0), torch.tensor([5, 6, 7]))
    alone = planner.plan(world, place(0), torch.tensor([6]))
    assert torch.allclose(alone.info["worth"][0], together.info["worth"][1])


def test_what_it_cannot_do_is_refused_by_name():
    with pytest.raises(UnsupportedSpace, match="Rollout compares Discrete actions; QuadraticWorld acts in Box"):
        Rollout().plan(QuadraticWorld(), place(0), torch.tensor([0]))
    with pytest.raises(InvalidArgument, match="num_candidates is 1; expected one for each of 2 actions"):
        Rollout(RolloutConfig(num_candidates=1)).plan(cliff(), place(0), torch.tensor([0]))
    with pytest.raises(InvalidArgument, match="num_futures is 0"):
        Rollout(RolloutConfig(num_futures=0))
