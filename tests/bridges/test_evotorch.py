"""EvoTorch in a dream: a fitness is the return of whole episodes, weights are shared, solutions exported unchanged."""

from __future__ import annotations

import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from target import target
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it uses torch.jit.script
    pytest.importorskip("evotorch")
from evotorch.algorithms import PGPE
from evotorch.neuroevolution import VecGymNE

from dreamgym.bridges.evotorch import DreamFactory, export_policy
from dreamgym.core.policy import load_policy
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, InvalidArgumentType, PolicyMismatch, UnsupportedSpace
from dreamgym.testing import Experience, check_experience, counting_dream
from dreamgym.testing.counting import LEVER

pytestmark = pytest.mark.integration

LIMIT = 7
DREAM = counting_dream(lengths=(3, 5, 4, 9))
LINEAR = "Linear(obs_length, act_length)"
MLP = "Linear(obs_length, 8) >> ReLU() >> Linear(8, 6, bias=False) >> ReLU() >> Linear(6, act_length)"


class Recorder(VectorWrapper):
    """Keeps what an evaluation was handed since its reset."""

    def reset(self, **kwargs: Any) -> Any:
        self.rows: list[tuple[Tensor, ...]] = []
        self.obs, info = self.env.reset(**kwargs)
        return self.obs, info

    def step(self, actions: Tensor) -> Any:
        assert isinstance(actions, Tensor)
        result = self.env.step(actions)
        obs, reward, terminated, truncated, info = result
        last = torch.where(info["_final_obs"][:, None], info["final_obs"], obs) if "final_obs" in info else obs
        self.rows.append((self.obs, actions, reward, terminated, truncated, last))
        self.obs = obs
        return result

    def experience(self, lanes: slice = slice(None)) -> Experience:
        names = ("obs", "action", "reward", "terminated", "truncated", "next_obs")
        columns = [torch.stack(column)[:, lanes].numpy() for column in zip(*self.rows, strict=True)]
        return Experience(**dict(zip(names, columns, strict=True)))


@pytest.mark.parametrize("num_episodes", [1, 3])
@pytest.mark.parametrize("dream", [DREAM, counting_dream(action_space=LEVER, lengths=(3, 5, 4, 9))])
def test_a_fitness_is_the_mean_return_of_whole_episodes(dream: Any, num_episodes: int) -> None:
    factory, made = DreamFactory(dream, max_episode_steps=LIMIT), []

    def make(num_envs: int) -> Recorder:
        made.append(Recorder(factory(num_envs)))
        return made[-1]

    problem = VecGymNE(make, LINEAR, num_episodes=num_episodes)
    steps = episodes = 0
    for popsize in (40, 25, 44):  # fewer solutions than lanes, and more
        batch = problem.generate_batch(popsize)
        batch.set_values(torch.randn(popsize, problem.solution_length))
        problem.evaluate(batch)
        for lane, fitness in enumerate(batch.evals[:, 0].tolist()):
            found = check_experience(made[-1].experience(slice(lane, lane + 1)), LIMIT, dream.model.config)
            assert fitness == pytest.approx(found.returns[:num_episodes].mean())
            steps += found.lengths[:num_episodes].sum()
        found = check_experience(made[-1].experience(), LIMIT, dream.model.config)
        assert found.terminated > 10
        assert found.truncated > 3
        episodes += popsize * num_episodes
        assert (problem.interaction_count, problem.episode_count) == (steps, episodes)
    assert [env.num_envs for env in made] == [1, 40, 44]  # the first one only tells its spaces


def test_actors_in_other_processes_see_whole_episodes_of_their_own() -> None:
    ray = pytest.importorskip("ray")
    factory = DreamFactory(DREAM, max_episode_steps=LIMIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's start
        problem = VecGymNE(factory, LINEAR, num_actors=2)
        batch = problem.generate_batch(40)
        batch.set_values(torch.tensor([[0.0] * 12 + [0, 0, 1]]).repeat(40, 1))  # always the last button
        problem.evaluate(batch)
        ray.shutdown()
    returns = [length * (length + 1) / 2 + 0.2 * length for length in (3, 5, 4, LIMIT)]
    fitness = batch.evals[:, 0].numpy()
    assert np.isclose(fitness[:, None], returns).any(1).all()
    assert (fitness[:20] != fitness[20:]).any()  # they do not dream the same
    assert problem.episode_count == 40


def test_a_factory_dreams_anew_each_time_and_the_same_after_the_same_seed() -> None:
    factory = DreamFactory(DREAM)
    random.seed(3)
    first, second = factory(20).reset()[0], factory(20).reset()[0]
    assert not torch.equal(first, second)
    random.seed(3)
    assert torch.equal(factory(20).reset()[0], first)


def test_all_lanes_share_one_set_of_weights_and_a_factory_travels_light() -> None:
    factory = DreamFactory("DreamDodge-v0", max_episode_steps=50)
    text = pickle.dumps(factory)
    assert len(text) < 1000
    small, large = factory(1), pickle.loads(text)(300)
    assert small.dream.model is large.dream.model
    assert large.simulator.max_episode_steps == 50
    assert pickle.loads(pickle.dumps(DreamFactory(DREAM)))(2).reset()[0].shape == (2, 4)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("network", [LINEAR, "Linear(obs_length, act_length, bias=False)", MLP])
@pytest.mark.parametrize("num_actions", [0, 5])
def test_a_solution_survives_the_export(num_actions: int, network: str, normalized: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    dream = target(num_actions=num_actions)
    problem = VecGymNE(DreamFactory(dream, max_episode_steps=9), network, observation_normalization=normalized)
    batch = problem.generate_batch(6)
    batch.set_values(0.3 * torch.randn(6, problem.solution_length))
    problem.evaluate(batch)
    export_policy(problem, batch[2], dream, tmp_path / "policy.safetensors")
    policy, theirs = load_policy(tmp_path / "policy.safetensors"), problem.to_policy(batch[2])
    assert (policy.config.dream, policy.config.model_sha256) == ("Target-v0", "5ha")
    features = torch.linspace(-3, 3, 101)[:, None]
    with torch.no_grad():
        expected = theirs(features)
    assert expected.std(0).max() > 0.01
    if num_actions:
        assert torch.equal(policy.act(features), expected.argmax(-1))
    else:
        torch.testing.assert_close(policy.act(features), expected)


def test_pgpe_learns_in_a_dream() -> None:
    torch.manual_seed(0)
    random.seed(0)
    problem = VecGymNE(DreamFactory(target(), max_episode_steps=20), LINEAR)
    searcher = PGPE(problem, popsize=40, center_learning_rate=0.3, stdev_learning_rate=0.1, stdev_init=0.3)
    searcher.step()
    first = searcher.status["mean_eval"]
    searcher.run(20)
    assert searcher.status["mean_eval"] > first + 3  # of at most 20
    policy = export_policy(problem, searcher.status["center"], target())
    assert policy.act(torch.tensor([[-2.0], [2.0]])).flatten().tolist() == pytest.approx([-1, 1], abs=0.2)


@pytest.mark.parametrize(
    "net", [nn.Sequential(nn.Linear(4, 3), nn.Tanh()), nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))]
)
def test_what_is_no_perceptron_is_not_exported(net: nn.Module) -> None:
    problem = VecGymNE(DreamFactory(DREAM), net)
    with pytest.raises(InvalidArgument, match=r"layers are \['Linear', '(Tanh|GELU)'.*expected Linear layers"):
        export_policy(problem, torch.zeros(problem.solution_length), DREAM)


def test_a_solution_of_another_dream_is_not_exported() -> None:
    problem = VecGymNE(DreamFactory(DREAM), LINEAR)
    with pytest.raises(PolicyMismatch, match="the policy sees 4 features; Target-v0 has 1"):
        export_policy(problem, torch.zeros(problem.solution_length), target(num_actions=3))
    with pytest.raises(PolicyMismatch, match="the policy has 3 raw outputs; Counting expects 1"):
        export_policy(problem, torch.zeros(problem.solution_length), counting_dream(action_space=LEVER))


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_another_mode_is_refused_with_the_right_one_named(mode: str) -> None:
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; EvoTorch .* use 'SameStep'"):
        DreamFactory(DREAM, autoreset_mode=mode)(2)
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; EvoTorch .* use 'SameStep'"):
        VecGymNE(DreamFactory(DREAM), LINEAR, env_config={"autoreset_mode": mode})


def test_what_it_cannot_make_lanes_of_is_refused() -> None:
    envs = DreamVectorEnv(DREAM, 3, autoreset_mode="SameStep", output="torch")
    with pytest.raises(InvalidArgumentType, match="model is a DreamVectorEnv; EvoTorch asks for as many lanes"):
        DreamFactory(envs)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="output is 'numpy'; EvoTorch takes tensors: use 'torch'"):
        DreamFactory(DREAM, output="numpy")(3)
    later = counting_dream(action_space=spaces.Discrete(3, start=1))
    with pytest.raises(UnsupportedSpace, match="starts at 1; EvoTorch needs integers from 0"):
        DreamFactory(later)(3)
