"""Tree search: golden trees that were computed by hand, a slow reference, and worlds whose best action is known."""

import math
import re

import numpy as np
import pytest
import torch
from planning_worlds import PlaceState, QuadraticWorld, TableWorld, cliff, greedy_trap, place

from dreamgym.core.model import Transition
from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.planners.planner import Plan
from dreamgym.planners.tree_search import TreeConfig, TreeSearch

NAN = float("nan")
NOTHING = lambda features: torch.zeros(len(features))  # noqa: E731  the value of a new node
EVENLY = {"c_base": 1e9, "discount": 1.0}  # the weight of the prior is c_init at every count

# action 0 leads to place 1 and pays 1; action 1 leads to place 2, where action 0 pays 4; place 3 pays nothing
GOLDEN = TableWorld(after=[[1, 2], [3, 3], [3, 3], [3, 3]], reward=[[1, 0], [0, 0], [4, 0], [0, 0]])


@pytest.mark.parametrize(
    ("simulations", "visits", "worth", "value"),
    [
        (1, [1, 0], [1, NAN], 1 / 2),  # both bounds are 4 * 1 / 2 = 2: the first action is taken, return 1
        (2, [1, 1], [1, 0], 1 / 3),  # 1 + 4 * 2**.5 / 4 = 2.41 against 4 * 2**.5 / 2 = 2.83: return 0
        (3, [2, 1], [1, 0], 2 / 4),  # 1 + 1.73 against 1.73: on to place 3, return 1
        (4, [3, 1], [1, 0], 3 / 5),  # 1 + 1.33 against 2: the other way to place 3, return 1
        (5, [3, 2], [1, 2], 7 / 6),  # 1 + 1.12 against 2.24: the 4 are found, return 4
        (6, [3, 3], [1, 4 / 3], 7 / 7),  # 1.22 against 1 + 1.63; there 1 + 1.41 against 2.83: return 0
        (7, [3, 4], [1, 2], 11 / 8),  # 1.32 against 1 + 1.32; there 1 + 1.73 against 1.73: return 4
        (8, [3, 5], [1, 12 / 5], 15 / 9),  # 1.41 against 1 + 1.13; there 1 + 1.33 against 2: return 4
    ],
)
def test_a_tree_is_the_one_that_was_computed_by_hand(simulations, visits, worth, value):
    config = TreeConfig(horizon=3, num_simulations=simulations, c_init=4.0, **EVENLY)
    plan = TreeSearch(config, NOTHING).plan(GOLDEN, place(0, 0), torch.tensor([0, 5]))
    for lane in range(2):
        assert plan.info["visits"][lane].tolist() == visits
        assert plan.info["worth"][lane].tolist() == pytest.approx(worth, nan_ok=True)
        assert plan.value[lane].item() == pytest.approx(value)
        assert plan.action[lane].tolist() == ([1, 0] if simulations < 6 else [0, 1])  # of as many visits the most worth
        assert plan.imagined[lane] == simulations


class Node:
    """A node of the reference: a search of one lane, node by node, as a textbook has it."""

    def __init__(self, world: TableWorld, config: TreeConfig, place: int, depth: int) -> None:
        self.world, self.config, self.place, self.depth = world, config, place, depth
        self.visits, self.value, self.kids = 1, place / 7, {}

    def worth(self, action: int) -> float:
        """Return the reward of an action that was tried, and what its node is worth."""
        row = self.place, action
        keep = self.config.discount * float(1 - self.world.termination[row])
        return float(self.world.reward[row]) + keep * self.kids[action].value

    def bound(self, action: int) -> float:
        """Return equation 2 of MuZero, with the range taken from this node."""
        known = [self.value, *map(self.worth, self.kids)]
        visits = self.kids[action].visits if action in self.kids else 0
        scaled = (self.worth(action) - min(known)) / max(max(known) - min(known), 1e-8) if visits else 0.0
        weight = self.config.c_init + math.log((self.visits + self.config.c_base + 1) / self.config.c_base)
        return scaled + weight / self.world.action_space.n * math.sqrt(self.visits) / (1 + visits)

    def simulate(self) -> float:
        """Return the return of one more descent from here."""
        if self.depth == self.config.horizon:
            back = self.value
        else:
            action = max(range(int(self.world.action_space.n)), key=self.bound)
            if action in self.kids:
                below = self.kids[action].simulate()
            else:
                place = int(self.world.after[self.place, action])
                self.kids[action] = Node(self.world, self.config, place, self.depth + 1)
                below = self.kids[action].value
            keep = self.config.discount * float(1 - self.world.termination[self.place, action])
            back = float(self.world.reward[self.place, action]) + keep * below
        self.value = (self.value * self.visits + back) / (self.visits + 1)
        self.visits += 1
        return back


def random_table(seed: int, actions: int = 3) -> TableWorld:
    """Return six places with rewards, ways and ends at random."""
    rng = np.random.default_rng(seed)
    ends = rng.random((6, actions)).astype(np.float32) * (rng.random((6, actions)) < 0.5)
    return TableWorld(
        rng.integers(6, size=(6, actions)).tolist(), rng.normal(size=(6, actions)).tolist(), ends.tolist()
    )


@pytest.mark.parametrize("seed", range(3))
def test_many_lanes_are_searched_as_a_reference_searches_one(seed):
    world, config = random_table(seed), TreeConfig(horizon=4, num_simulations=60, discount=0.9)
    plan = TreeSearch(config, lambda features: features.argmax(1) / 7).plan(world, place(*range(6)), torch.arange(6))
    for start in range(6):
        root = Node(world, config, start, 0)
        for _ in range(60):
            root.simulate()
        assert plan.info["visits"][start].tolist() == [root.kids[a].visits if a in root.kids else 0 for a in range(3)]
        assert plan.value[start].item() == pytest.approx(root.value, abs=1e-4)


@pytest.mark.integration
@pytest.mark.filterwarnings("default")  # of jax, as it is imported
@pytest.mark.parametrize("seed", range(5))
def test_mctx_grows_the_same_tree(seed):
    mctx, jax = pytest.importorskip("mctx"), pytest.importorskip("jax")
    world, config = random_table(seed, actions=4), TreeConfig(horizon=6, num_simulations=48, discount=0.9)
    prior = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))  # no two alike: ties are drawn there
    ours = TreeSearch(config, lambda features: features.argmax(1) / 7, lambda features: features @ prior)
    plan = ours.plan(world, place(*range(6)), torch.arange(6))
    after, reward, end = (jax.numpy.asarray(x.numpy()) for x in (world.after, world.reward, world.termination))
    logits = jax.numpy.asarray(prior.numpy())

    def step(params, key, action, x):
        to = after[x, action]
        keep = config.discount * (1 - end[x, action])
        return mctx.RecurrentFnOutput(
            reward=reward[x, action], discount=keep, prior_logits=logits[to], value=to / 7
        ), to

    begin = jax.numpy.arange(6)
    root = mctx.RootFnOutput(prior_logits=logits, value=begin / 7, embedding=begin)
    theirs = mctx.muzero_policy(
        None, jax.random.PRNGKey(0), root, step, config.num_simulations,
        max_depth=config.horizon, dirichlet_fraction=0.0, temperature=0.0,
        pb_c_init=config.c_init, pb_c_base=config.c_base,
    ).search_tree.summary()  # fmt: skip
    assert plan.info["visits"].tolist() == np.asarray(theirs.visit_counts).tolist()
    assert plan.value.tolist() == pytest.approx(np.asarray(theirs.value).tolist(), abs=1e-4)


def test_more_simulations_come_nearer_to_the_best_action():
    def regret(simulations: int) -> float:
        search, lost = TreeSearch(TreeConfig(horizon=3, num_simulations=simulations), NOTHING), []
        for seed in range(4):
            world = random_table(seed)
            action = search.plan(world, place(*range(6)), torch.arange(6)).action.argmax(1)
            for start in range(6):
                row = start, int(action[start])
                below = float(1 - world.termination[row]) * world.best(int(world.after[row]), 2)
                lost.append(world.best(start, 3) - float(world.reward[row]) - below)
        assert min(lost) > -1e-5
        return sum(lost) / len(lost)

    assert regret(1) > 0.5
    assert regret(200) < 0.05


def test_waiting_for_more_is_found_and_a_sure_end_avoided():
    search = TreeSearch(TreeConfig(horizon=3, num_simulations=40))
    assert search.plan(greedy_trap(), place(0, 0), torch.arange(2)).actions.argmax(2).tolist() == [[1, 1, 1]] * 2
    assert TreeSearch(TreeConfig(horizon=8)).plan(cliff(), place(0), torch.tensor([0])).action.tolist() == [[1, 0]]
    assert TreeSearch(TreeConfig(horizon=1)).plan(cliff(), place(0), torch.tensor([0])).action.tolist() == [[0, 1]]


def test_rollouts_go_to_the_horizon_and_no_further():
    world = TableWorld(after=[[1], [2], [2]], reward=[[1.0], [2.0], [4.0]], termination=[[0.5], [0.25], [0.0]])
    config = TreeConfig(horizon=4, num_simulations=5, num_rollouts=3, discount=0.5)
    plan = TreeSearch(config).plan(world, place(0), torch.tensor([0]))
    whole = 1 + 0.25 * (2 + 0.375 * (4 + 0.5 * 4))
    assert plan.value.item() == pytest.approx(whole)  # every return is that of the only way there is
    assert plan.info["worth"].tolist() == [[pytest.approx(whole)]]
    assert plan.imagined.item() == 3 * 4 + (1 + 3 * 3) + (1 + 3 * 2) + (1 + 3) + 1  # the fifth adds no node


class Treacherous(TableWorld):
    """Action 0 promises most and leads to a place that is not finite."""

    def step(self, state, action, noise=None, temperature=1.0) -> Transition:
        x = state.x.nan_to_num(0.0)
        out = super().step(PlaceState(x), action, noise, temperature)
        return Transition(PlaceState(torch.where(action[:, 0] > 0, NAN, out.state.x)), out.reward, out.termination)

    def features(self, state):
        return state.x[:, None].clone()


@pytest.mark.parametrize("value_fn", [NOTHING, None], ids=["value", "rollouts"])
def test_an_action_that_diverges_is_tried_once_and_never_chosen(value_fn):
    world = Treacherous(after=[[0, 0, 0]], reward=[[9.0, 0.0, 1.0]])
    config = TreeConfig(horizon=3, num_simulations=32, num_rollouts=8)
    plan = TreeSearch(config, value_fn).plan(world, place(0, 0), torch.arange(2))
    assert plan.finite.all()
    assert plan.info["visits"][:, 0].tolist() == [0, 0]
    assert plan.action.argmax(1).tolist() == [2, 2]
    assert plan.value.isfinite().all()
    assert plan.value.max() <= 3  # nor does it count in the rollouts of others


@pytest.mark.parametrize("reward", [NAN, math.inf, -math.inf])
def test_a_way_that_ends_in_what_is_not_finite_is_left_before_it(reward):
    # action 0 leads to place 1 with 5 at once, where all actions earn what is no number; action 1 earns 1 for ever
    world = TableWorld(after=[[1, 0], [1, 1]], reward=[[5.0, 1.0], [reward, reward]])
    plan = TreeSearch(TreeConfig(horizon=4, num_simulations=32), NOTHING).plan(world, place(0, 1), torch.arange(2))
    assert plan.finite.tolist() == [True, False]
    assert plan.action[0].tolist() == [0, 1]
    assert plan.info["visits"][0, 0] == 0
    assert plan.value[1].isnan()
    assert plan.actions[1].tolist() == [[0.5, 0.5]] * 4


def test_where_nothing_is_finite_the_last_plan_goes_on():
    world = TableWorld(after=[[0, 0]], reward=[[NAN, NAN]])
    last = torch.eye(2)[torch.tensor([[0, 1, 0, 1]])]
    warm = Plan(last, *[torch.ones(1)] * 3)
    plan = TreeSearch(TreeConfig(horizon=4)).plan(world, place(0), torch.tensor([0]), warm)
    assert plan.finite.tolist() == [False]
    assert plan.actions.argmax(2).tolist() == [[1, 0, 1, 1]]


def test_luck_is_fixed_within_a_tree_and_averaged_over_several():
    # both actions earn the same but for action 1's better 0.3; the noise is ten times that
    world = TableWorld(after=[[0, 0]], reward=[[0.0, 0.3]], std=3.0)
    search = TreeSearch(TreeConfig(horizon=1, num_simulations=8), NOTHING)
    plan = search.plan(world, place(*[0.0] * 50), torch.arange(50))
    worth = plan.info["worth"]
    assert torch.allclose(worth[:, 1] - worth[:, 0], torch.full((50,), 0.3), atol=1e-5)  # siblings share their luck
    assert plan.action[:, 1].all()
    assert worth[:, 0].std() > 2
    many = TreeSearch(TreeConfig(horizon=1, num_simulations=8, num_trees=64), NOTHING)
    averaged = many.plan(world, place(*[0.0] * 50), torch.arange(50))
    assert averaged.info["worth"][:, 0].std() < 1
    assert averaged.info["visits"].sum(1).tolist() == [64 * 8] * 50


def test_a_lane_does_not_depend_on_the_others():
    world = TableWorld(**{k: getattr(random_table(0), k).tolist() for k in ("after", "reward", "termination")}, std=0.5)
    search = TreeSearch(TreeConfig(horizon=5, num_simulations=24, num_trees=2))
    together = search.plan(world, place(0, 3, 5), torch.tensor([4, 0, 9]))
    again = search.plan(world, place(0, 3, 5), torch.tensor([1, 2, 3]), together)
    alone = search.plan(world, place(3), torch.tensor([0]))
    later = search.plan(world, place(3), torch.tensor([2]), alone)
    for mine, among in ((alone, together), (later, again)):
        assert mine.info["visits"][0].tolist() == among.info["visits"][1].tolist()
        assert torch.allclose(mine.actions[0], among.actions[1])
        assert mine.imagined[0] == among.imagined[1]


def test_a_warm_start_leans_towards_the_last_plan():
    world = TableWorld(after=[[0, 0, 0]], reward=[[0.0, 0.0, 0.0]])
    warm = Plan(torch.eye(3)[torch.tensor([[0, 2, 1]])], *[torch.ones(1)] * 3)
    search = TreeSearch(TreeConfig(horizon=3, num_simulations=30), NOTHING)
    cold, plan = (search.plan(world, place(0), torch.tensor([0]), last) for last in (None, warm))
    assert cold.info["visits"].max() <= 11
    assert plan.info["visits"].argmax() == 2
    assert plan.info["visits"].max() > 15


def test_what_the_tree_does_not_know_of_a_plan_is_spread_evenly():
    plan = TreeSearch(TreeConfig(horizon=3, num_simulations=1), NOTHING).plan(GOLDEN, place(0), torch.tensor([0]))
    assert plan.actions.tolist() == [[[1, 0], [0.5, 0.5], [0.5, 0.5]]]


def test_continuous_actions_are_refused_by_name():
    told = r"TreeSearch chooses among Discrete actions; QuadraticWorld acts in Box\(-4.0, 4.0, \(1,\), float32\). Plan"
    with pytest.raises(UnsupportedSpace, match=told):
        TreeSearch().plan(QuadraticWorld(), place(0), torch.tensor([0]))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_simulations": 0}, "num_simulations is 0; expected at least 1."),
        ({"num_trees": 0}, "num_trees is 0; expected at least 1."),
        ({"num_rollouts": 0}, "num_rollouts is 0; expected at least 1."),
        ({"horizon": 0}, "horizon is 0; expected at least 1."),
        ({"c_init": 0.0}, "c_init is 0.0; expected a finite number above 0."),
        ({"trust": -1.0}, "trust is -1.0; expected a number in [0, 1]."),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(options, told):
    with pytest.raises(InvalidArgument, match=re.escape(told)):
        TreeSearch(TreeConfig(**options))
