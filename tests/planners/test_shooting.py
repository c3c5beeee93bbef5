"""Planners that shoot: they find what is known to be best, and never what is not finite."""

import re

import numpy as np
import pytest
import torch
from planning_worlds import QuadraticWorld, TableWorld, cliff, greedy_trap, place

from dreamgym.core import noise
from dreamgym.core.imagine import imagine
from dreamgym.core.model import Transition
from dreamgym.errors import InvalidArgument
from dreamgym.planners.planner import Plan
from dreamgym.planners.rollout import Luck, imagined_return
from dreamgym.planners.shooting import Cem, CemConfig, Mppi, MppiConfig, RandomShooting, ShootingConfig, planet

SEEDS = torch.arange(3)


def chosen(plan: Plan) -> list[list[int]]:
    """Return the numbers of the actions of each lane."""
    return plan.actions.argmax(2).tolist()


def all_discrete(horizon: int) -> list:
    return [
        RandomShooting(ShootingConfig(horizon=horizon, num_candidates=64)),
        Cem(CemConfig(horizon=horizon, num_candidates=64, num_elites=8)),
        Mppi(MppiConfig(horizon=horizon, num_candidates=64, num_iterations=4, softness=0.1)),
    ]


@pytest.mark.parametrize(
    ("planner", "tolerance"),
    [
        (RandomShooting(ShootingConfig(horizon=3, num_candidates=8000)), 1.0),
        (Cem(CemConfig(horizon=3, num_iterations=8)), 0.03),
        (Mppi(MppiConfig(horizon=3, num_iterations=20, std=0.1, softness=0.5)), 0.15),
    ],
    ids=["random", "cem", "mppi"],
)
def test_the_best_plan_of_a_quadratic_world_is_found(planner, tolerance):
    plan = planner.plan(QuadraticWorld(), place(-0.5, 0.0, 2.0), SEEDS)
    for lane, x in enumerate((-0.5, 0.0, 2.0)):
        actions, value = QuadraticWorld.best(x, 3)
        assert np.abs(plan.actions[lane, :, 0].numpy() - actions).max() < tolerance
        assert value - 0.15 < float(plan.value[lane]) <= value + 1e-5


@pytest.mark.parametrize("planner", all_discrete(3), ids=["random", "cem", "mppi"])
def test_a_greedy_first_step_is_not_taken_where_waiting_pays(planner):
    plan = planner.plan(greedy_trap(), place(0, 0, 2), SEEDS)
    assert chosen(plan)[:2] == [[1, 1, 1]] * 2
    assert plan.action[2].argmax() == 1
    assert plan.value.tolist() == pytest.approx([5, 5, 5], abs=0.8)


@pytest.mark.parametrize("planner", all_discrete(8), ids=["random", "cem", "mppi"])
def test_what_a_sure_end_takes_away_counts(planner):
    plan = planner.plan(cliff(), place(0, 0, 0), SEEDS)  # 8 steps of 1, or 7 and then 3
    assert all(actions[0] == 0 for actions in chosen(plan))
    rich = planner.plan(cliff(reward=9.0), place(0), torch.tensor([5]))
    assert rich.value.item() > 9
    short = type(planner)(type(planner.config)(horizon=1, num_candidates=64)).plan(cliff(), place(0), torch.tensor([0]))
    assert chosen(short) == [[1]]


def test_rewards_are_weighed_by_the_probability_to_live_and_by_the_discount():
    world = TableWorld(after=[[1], [2], [2]], reward=[[1.0], [2.0], [4.0]], termination=[[0.5], [0.25], [0.0]])
    config = ShootingConfig(horizon=3, num_candidates=1, discount=0.5)
    plan = RandomShooting(config).plan(world, place(0), torch.tensor([0]))
    assert plan.value.item() == 1 + 0.5 * 0.5 * 2 + 0.25 * 0.5 * 0.75 * 4
    valued = RandomShooting(config, lambda features: 16 * features[:, 2]).plan(world, place(0), torch.tensor([0]))
    assert valued.value.item() == plan.value.item() + 0.125 * 0.5 * 0.75 * 16


def test_a_return_is_the_sum_over_what_imagine_returns():
    world, noise = QuadraticWorld(std=0.3), torch.randn(5, 4, 1)
    actions = torch.randn(5, 4, 1)
    rows = iter(actions)
    with torch.no_grad():
        seen = imagine(world, place(0, 1, 2, 3), lambda features: next(rows), 5, noise)
    expected = (0.9 ** torch.arange(5)[:, None] * seen.survival * seen.reward).sum(0)
    ours = imagined_return(world, place(0, 1, 2, 3), actions.unbind(0), noise.__getitem__, CemConfig(discount=0.9))
    assert torch.allclose(ours, expected)


@pytest.mark.parametrize(
    "planner",
    [
        RandomShooting(ShootingConfig(horizon=2, num_candidates=3000)),
        Cem(CemConfig(horizon=2, num_iterations=8)),
        Mppi(MppiConfig(horizon=2, num_iterations=8, std=0.1, softness=0.1)),
    ],
    ids=["random", "cem", "mppi"],
)
def test_a_region_that_diverges_is_never_entered_however_much_it_promises(planner):
    world = QuadraticWorld(cliff=0.3, bait=1000.0)
    plan = planner.plan(world, place(0, 0, 0), SEEDS)
    assert plan.finite.all()
    assert plan.actions.max() <= 0.3
    assert plan.actions[:, 0, 0].tolist() == pytest.approx([0.3] * 3, abs=0.1)  # as near as it gets to 1


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("planner", all_discrete(2), ids=["random", "cem", "mppi"])
def test_a_reward_that_is_not_finite_ranks_last(planner, reward):
    world = TableWorld(after=[[0, 0, 0]], reward=[[reward, -50.0, -60.0]])
    plan = planner.plan(world, place(0, 0, 0), SEEDS)
    assert chosen(plan) == [[1, 1]] * 3
    assert plan.value.isfinite().all()


@pytest.mark.parametrize("planner", all_discrete(2), ids=["random", "cem", "mppi"])
def test_where_nothing_is_finite_the_plan_says_so_and_keeps_the_last_one(planner):
    world = TableWorld(after=[[0, 0], [1, 1]], reward=[[float("nan")] * 2, [0.0, 1.0]])
    plan = planner.plan(world, place(0, 1), SEEDS[:2])
    assert plan.finite.tolist() == [False, True]
    assert plan.value.isnan().tolist() == [True, False]
    assert plan.actions.isfinite().all()
    later = planner.plan(world, place(0, 0), SEEDS[:2], warm=plan)
    assert later.finite.tolist() == [False, False]
    assert later.action[1].argmax() == 1  # what the last plan would do next


def test_fewer_finite_candidates_than_elites_are_the_elites_alone():
    world = TableWorld(after=[[0, 0, 0, 0]], reward=[[float("nan")] * 3 + [-5.0]])
    config = CemConfig(horizon=2, num_candidates=64, num_elites=64, num_iterations=1, smoothing=0.0)
    plan = Cem(config).plan(world, place(0), torch.tensor([0]))
    assert chosen(plan) == [[3, 3]]
    assert plan.value.item() == -10


def test_every_step_of_every_candidate_has_luck_of_its_own():
    world, seeds = QuadraticWorld(), torch.tensor([0, 1])
    config = CemConfig(num_candidates=3, num_futures=2, num_elites=1)
    own = Luck(world, seeds, config.num_candidates, config.num_futures, config.horizon)
    steps = torch.stack([own.next() for _ in range(50)])
    assert steps.shape == (50, 2 * 3 * 2, 1)
    assert len(steps.unique()) == steps.numel()
    shared = Luck(world, seeds, config.num_candidates, config.num_futures, config.horizon, common=True)
    steps = torch.stack([shared.next() for _ in range(50)]).view(50, 2, 3, 2)
    assert torch.equal(steps, steps[:, :, :1].expand(-1, -1, 3, -1))
    assert len(steps.unique()) == 50 * 2 * 2


def test_luck_is_drawn_for_a_horizon_at_once_and_no_more_of_it_than_fits_the_cache(monkeypatch):
    drawn, plain = [], noise.normal
    monkeypatch.setattr(noise, "normal", lambda seed, *rest: drawn.append(len(seed)) or plain(seed, *rest))
    seeds = torch.tensor([0, 1])
    for candidates, each in ((3, 20), (2**14, 4), (2**17, 1)):
        luck = Luck(QuadraticWorld(), seeds, candidates, 1, horizon=20)
        drawn.clear()
        for t in range(20):
            expected = plain(seeds, noise.IMAGINED, torch.full_like(seeds, t), candidates).reshape(-1, 1)
            assert torch.equal(luck.next(), expected)
        assert drawn == [2 * each] * (20 // each)


def test_one_future_of_many_that_diverges_is_enough_to_rank_last():
    class Sometimes(TableWorld):
        def step(self, state, action, noise=None, temperature=1.0) -> Transition:
            out = super().step(state, action, noise, temperature)
            bad = (action.argmax(1) == 0) & (noise[:, 0] > 1)  # one future in six
            return Transition(out.state, out.reward.masked_fill(bad, torch.nan), out.termination)

    world = Sometimes(after=[[0, 0]], reward=[[9.0, 1.0]])
    config = CemConfig(horizon=1, num_candidates=16, num_elites=4, num_futures=64, num_iterations=2)
    assert chosen(Cem(config).plan(world, place(0), torch.tensor([0]))) == [[1]]


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("kind", [RandomShooting, Cem, Mppi])
def test_a_lane_does_not_depend_on_the_others(kind, common):
    planner = kind(kind.config_class(horizon=4, num_candidates=50, common_noise=common))
    world, x, seeds = QuadraticWorld(std=0.5), (-1.0, 0.0, 0.5, 2.0), torch.tensor([7, 0, 7, 3])
    together = planner.plan(world, place(*x), seeds)
    again = planner.plan(world, place(*x), seeds, warm=together)
    for lane in range(4):
        alone = planner.plan(world, place(x[lane]), seeds[lane : lane + 1])
        assert torch.equal(alone.actions[0], together.actions[lane])
        assert torch.equal(
            planner.plan(world, place(x[lane]), seeds[lane : lane + 1], alone).actions[0], again.actions[lane]
        )
    assert not torch.equal(together.actions[0], planner.plan(world, place(-1), torch.tensor([8])).actions[0])


def test_more_lanes_than_are_imagined_at_once_get_the_same_plans(monkeypatch):
    planner, seeds = Cem(CemConfig(horizon=3, num_candidates=50, num_elites=5)), torch.arange(5)
    state = place(*range(5))
    whole = planner.plan(QuadraticWorld(std=0.1), state, seeds)
    monkeypatch.setattr("dreamgym.planners.planner.MOST_IMAGINED", 120)  # two lanes at once
    assert torch.equal(planner.plan(QuadraticWorld(std=0.1), state, seeds).actions, whole.actions)


@pytest.mark.parametrize("kind", [RandomShooting, Cem, Mppi])
def test_a_warm_start_looks_around_the_last_plan_moved_up_by_one(kind):
    best, _ = QuadraticWorld.best(-1.0, 6)
    last = Plan(
        torch.tensor(best, dtype=torch.float32)[None, :, None], torch.zeros(1), torch.ones(1).bool(), torch.ones(1)
    )
    options = {} if kind is RandomShooting else {"std": 1e-4}
    planner = kind(kind.config_class(horizon=6, num_candidates=40, **options))
    x = 0.9 * -1.0 + 0.5 * best[0]
    plan = planner.plan(QuadraticWorld(), place(x), torch.tensor([0]), last)
    assert plan.actions[0, :5, 0].tolist() == pytest.approx(best[1:].tolist(), abs=1e-2)
    assert plan.actions[0, 5, 0].item() == pytest.approx(best[-1], abs=1e-2)


def test_mppi_prefers_alike_whatever_the_unit_of_the_reward():
    def planned(scale: float, shift: float) -> Plan:
        world = TableWorld(after=[[0, 0, 0]], reward=[[shift, shift + 0.7 * scale, shift + scale]])
        config = MppiConfig(horizon=2, num_candidates=200, num_iterations=1, smoothing=0.0)
        return Mppi(config).plan(world, place(0), torch.tensor([0]))

    plain, large, small = planned(1, 0), planned(1000, -500), planned(0.001, 0.01)
    for other in (large, small):
        assert torch.equal(plain.actions, other.actions)
    assert (large.value.item() + 1000) / 1000 == pytest.approx(plain.value.item(), abs=1e-3)
    assert (small.value.item() - 0.02) / 0.001 == pytest.approx(plain.value.item(), abs=1e-3)


def test_to_mppi_returns_that_differ_by_rounding_are_alike():
    world = TableWorld(after=[[0, 0]], reward=[[1.0, 1.0 + 1e-7]])
    planner = Mppi(MppiConfig(horizon=20, num_candidates=400, num_iterations=1))
    returns = torch.tensor([[20.0, 20.000002, 20.0, -torch.inf], [3.0, 1.0, 2.0, -torch.inf]])
    weight = planner._weight(returns)
    assert weight[0, :3].min() > 0.9
    assert weight[0, 3] == 0
    spread = float(torch.tensor([3.0, 1.0, 2.0]).std(unbiased=False))
    assert weight[1].tolist() == pytest.approx([1.0, np.exp(-2 / spread), np.exp(-1 / spread), 0.0])
    assert planner.plan(world, place(0), torch.tensor([0])).finite.all()


def test_candidates_that_share_their_luck_are_compared_without_noise():
    world = TableWorld(after=[[0, 0]], reward=[[0.0, 0.5]], std=20.0)
    shared, own = (
        RandomShooting(ShootingConfig(horizon=1, num_candidates=16, common_noise=common)) for common in (True, False)
    )
    seeds = torch.arange(40)
    picks = [planner.plan(world, place(*[0.0] * 40), seeds).action[:, 1].mean().item() for planner in (shared, own)]
    assert picks[0] == 1
    assert picks[1] < 0.9


def test_actions_keep_to_the_bounds_of_their_box():
    plan = Cem(CemConfig(horizon=4, num_iterations=12)).plan(QuadraticWorld(), place(-80, 80), SEEDS[:2])
    assert torch.allclose(plan.actions[:, :, 0], torch.tensor([[4.0], [-4.0]]).expand(2, 4), atol=0.01)
    assert plan.actions.abs().max() <= 4


def test_the_sizes_of_planet_are_there_by_name():
    config = planet()
    assert (config.horizon, config.num_iterations, config.num_candidates, config.num_elites) == (12, 10, 1000, 100)
    plan = Cem(CemConfig(horizon=3, num_candidates=50, num_futures=2)).plan(
        QuadraticWorld(), place(0), torch.tensor([0])
    )
    assert plan.imagined.tolist() == [5 * 50 * 2 * 3]


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (RandomShooting, {"horizon": 0}, "horizon is 0; expected at least 1."),
        (Cem, {"num_candidates": 0}, "num_candidates is 0; expected at least 1."),
        (Mppi, {"num_candidates": -3}, "num_candidates is -3; expected at least 1."),
        (Cem, {"num_elites": 0}, "num_elites is 0; expected at least 1."),
        (Cem, {"num_elites": 401}, "num_elites is 401; expected at most the 400 of num_candidates."),
        (Cem, {"num_iterations": 0}, "num_iterations is 0; expected at least 1."),
        (Cem, {"num_futures": 0}, "num_futures is 0; expected at least 1."),
        (Cem, {"std": 0.0}, "std is 0.0; expected a finite number above 0."),
        (Mppi, {"softness": float("nan")}, "softness is nan; expected a finite number above 0."),
        (Mppi, {"trust": 1.5}, "trust is 1.5; expected a number in [0, 1]."),
        (Cem, {"smoothing": -0.1}, "smoothing is -0.1; expected a number in [0, 1]."),
        (Cem, {"discount": 0.0}, "discount is 0.0; expected a number in (0, 1]."),
        (Cem, {"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(kind, options, told):
    with pytest.raises(InvalidArgument, match=re.escape(told)):
        kind(kind.config_class(**options))
