"""The controller of the paper: its size, that CMA-ES finds a known optimum, and what a candidate is compared by."""

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from target import GAIN, SHIFT, TargetWorld, ToyDream

from dreamgym.agents.evolution import Generation, evolve, expected_returns, rank
from dreamgym.core import kept, noise
from dreamgym.core.imagine import imagine
from dreamgym.core.kept import Kept
from dreamgym.core.policy import Policy, PolicyConfig
from dreamgym.core.starts import StartBank
from dreamgym.errors import InvalidArgument, MissingExtra
from dreamgym.hub import LoadedDream
from dreamgym.models import vae_mdn_rnn

LINEAR = Policy(PolicyConfig(input_dim=1, output="tanh"), TargetWorld().action_space)


def returns_of(weights: list[list[float]], model: TargetWorld, rollouts: int = 4, horizon: int = 3) -> torch.Tensor:
    dream = ToyDream(model)
    return expected_returns(model, dream.starts, LINEAR, torch.tensor(weights), rollouts, horizon, seed=0, generation=1)


def test_cma_es_finds_the_known_best_weights() -> None:
    policy, history = evolve(ToyDream(), generations=30, population=12, rollouts=8, horizon=8, sigma=0.5)
    weights = torch.nn.utils.parameters_to_vector(policy.parameters())
    assert weights.tolist() == pytest.approx([GAIN, SHIFT], abs=0.05)
    assert history[0].best < history[-1].best <= 8
    assert history[-1].best == pytest.approx(8, abs=0.01)


def test_the_policy_knows_its_dream_and_bounds_its_actions() -> None:
    policy, _ = evolve(ToyDream(), generations=1, population=2, rollouts=1, horizon=1, sigma=100.0)
    assert (policy.config.dream, policy.config.model_sha256, policy.config.output) == ("Target-v0", "5ha", "tanh")
    assert policy.act(torch.linspace(-99, 99, 50)[:, None]).abs().max() <= 1


def test_the_same_seed_evolves_the_same_policy_and_leaves_global_generators_alone() -> None:
    def weights(seed: int) -> list[float]:
        policy, _ = evolve(ToyDream(), generations=3, population=4, rollouts=2, horizon=2, seed=seed)
        return torch.nn.utils.parameters_to_vector(policy.parameters()).tolist()

    np.random.seed(5)
    first = weights(0)
    after = np.random.standard_normal()
    np.random.seed(5)
    assert after == np.random.standard_normal()
    assert weights(0) == first
    assert weights(1) != first


def test_a_hidden_layer_can_be_evolved_in_a_discrete_world() -> None:
    dream = ToyDream(TargetWorld(num_actions=5))
    policy, history = evolve(dream, generations=25, population=16, rollouts=8, horizon=8, sigma=0.5, hidden=(4,))
    assert policy.num_weights() == 1 * 4 + 4 + 4 * 5 + 5
    low, high = policy.act(torch.tensor([[-2.0], [2.0]])).tolist()
    assert low < 2 < high
    assert history[-1].best > history[0].mean + 1


@pytest.mark.parametrize(
    ("config", "low", "num_weights", "num_biases"),
    [
        (vae_mdn_rnn.car_racing(), [-1, 0, 0], 864, 3),  # 867 in the paper
        (vae_mdn_rnn.doom(), [-1], 1088, 1),  # 1,088 in the paper, which leaves the bias out
    ],
)
def test_the_controller_has_the_size_of_the_paper(
    config: vae_mdn_rnn.Config, low: list[float], num_weights: int, num_biases: int
) -> None:
    actions = spaces.Box(np.array(low, np.float32), np.ones(len(low), np.float32))
    model = vae_mdn_rnn.VaeMdnRnn(config, spaces.Box(0, 255, (64, 64, 3), np.uint8), actions)
    dream = LoadedDream(model, StartBank(model.initial(3), torch.ones(3, dtype=torch.bool)))
    policy, history = evolve(dream, generations=1, population=2, rollouts=2, horizon=2)
    assert policy.num_weights() == num_weights + num_biases
    assert policy.net[0].weight.numel() == num_weights
    assert math.isfinite(history[0].best)


def test_equal_candidates_earn_the_same_to_the_bit() -> None:
    returns = returns_of([[0.3, 0.1], [1.0, 0.0], [0.3, 0.1]], TargetWorld())
    assert returns[0] == returns[2] != returns[1]


def test_a_return_is_what_the_policy_earns_when_it_dreams_alone() -> None:
    model, dream = TargetWorld(termination=0.25), ToyDream()
    policy = Policy(LINEAR.config, model.action_space)
    torch.nn.utils.vector_to_parameters(torch.tensor([0.7, 0.2]), policy.parameters())
    lane, episode = torch.arange(4), torch.ones(4, dtype=torch.int64)
    start = dream.starts.sample(noise.uniform(lane, noise.START, episode))
    draws = torch.stack([noise.normal(lane, noise.DYNAMICS, episode * 3 + t, 1) for t in range(3)])
    with torch.no_grad():
        dreamed = imagine(model, start, policy.act, 3, draws)
    expected = (dreamed.survival * dreamed.reward).sum(0).mean()
    assert returns_of([[9.0, 9.0], [0.7, 0.2]], model)[1].item() == pytest.approx(expected.item(), abs=1e-6)
    assert dreamed.survival[:, 0].tolist() == [1, 0.75, 0.5625]


def test_generations_dream_of_other_things() -> None:
    dream, weights = ToyDream(), torch.tensor([[0.5, 0.0]])
    first, second = (expected_returns(dream.model, dream.starts, LINEAR, weights, 4, 3, 0, g) for g in (1, 2))
    assert first != second


def test_a_candidate_that_diverges_spoils_no_other_and_ranks_last() -> None:
    plain, edged = TargetWorld(), TargetWorld(edge=0.9)
    weights = [[0.0, 0.0], [0.0, 99.0], [0.1, 0.1]]
    returns = returns_of(weights, edged)
    assert returns.isfinite().tolist() == [True, False, True]
    assert returns[[0, 2]].tolist() == returns_of(weights, plain)[[0, 2]].tolist()
    assert rank(returns.numpy())[1] == 2


def test_what_is_not_finite_ranks_behind_the_worst_number() -> None:
    assert rank(np.array([1.0, np.nan, -1e30, np.inf, 3.0])).tolist() == [1, 3, 2, 4, 0]


def test_diverged_candidates_are_counted_and_do_not_stop_the_search() -> None:
    policy, history = evolve(
        ToyDream(TargetWorld(edge=0.9)), generations=30, population=12, rollouts=8, horizon=8, sigma=0.5
    )
    assert sum(row.diverged for row in history) > 0
    assert math.isfinite(history[-1].best)
    assert policy.act(torch.tensor([[-1.0]])).item() == pytest.approx(math.tanh(-GAIN + SHIFT), abs=0.2)


def test_an_evolution_that_was_interrupted_twice_evolves_the_same_policy(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.0)
    path, seen = tmp_path / "cma.unfinished", []

    def evolved(until: int = 99, **more: Any) -> tuple[list[float], list[float]]:
        def progress(row: Generation) -> None:
            seen.append(row.generation)
            if row.generation == until:
                raise KeyboardInterrupt

        options = {"generations": 12, "population": 8, "rollouts": 2, "horizon": 3, "hidden": (4,), **more}
        policy, history = evolve(ToyDream(), **options, progress=progress)
        return torch.nn.utils.parameters_to_vector(policy.parameters()).tolist(), [row.best for row in history]

    for until in (5, 9):
        with pytest.raises(KeyboardInterrupt):
            evolved(until, keep=Kept(path))
    with pytest.raises(InvalidArgument, match="cma.unfinished was left by a training with seed 0; give these to go on"):
        evolved(keep=Kept(path), seed=1)
    whole = evolved(keep=Kept(path))
    assert seen == [*range(1, 6), *range(5, 10), *range(9, 13)]
    assert whole == evolved()


def test_progress_can_end_the_evolution() -> None:
    _, history = evolve(
        ToyDream(), generations=9, population=2, rollouts=1, horizon=1, progress=lambda row: row.generation < 2
    )
    assert [row.generation for row in history] == [1, 2]


@pytest.mark.parametrize("name", ["generations", "population", "rollouts", "horizon"])
def test_a_count_of_zero_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{name} is 0; expected at least"):
        evolve(ToyDream(), **{"generations": 1, name: 0})


def test_a_missing_pycma_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cma", None)
    with pytest.raises(MissingExtra, match=r'pycma: pip install "dreamgym\[es\]"'):
        evolve(ToyDream(), generations=1)
