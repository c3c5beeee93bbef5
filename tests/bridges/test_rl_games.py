"""rl_games in a dream: no episodes spliced, time limits told from ends, learning, and policies exported unchanged."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from target import target

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses torch.jit.script and old spellings
    pytest.importorskip("rl_games")
    from rl_games.common.algo_observer import AlgoObserver
    from rl_games.torch_runner import Runner

    from dreamgym.bridges.rl_games import DreamVecEnv, export_policy
from dreamgym.core.policy import load_policy
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidAction, InvalidArgument, PolicyMismatch, UnsupportedSpace
from dreamgym.hub import LoadedDream
from dreamgym.testing import Experience, check_experience, counting_dream
from dreamgym.testing.counting import LEVER

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")]

LIMIT, GAMMA = 7, 0.9
DREAM = counting_dream(lengths=(3, 5, 4, 9))
LEVERS = counting_dream(action_space=LEVER, lengths=(3, 5, 4, 9))  # of -2 to 2


class TimeOuts(AlgoObserver):
    """Keeps `time_outs` of every step, as rl_games hands them to its observers."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def process_infos(self, infos: Any, done_indices: Any) -> None:
        self.rows.append(infos["time_outs"])


def runner_of(dream: LoadedDream, folder: Path, observer: Any = None, **options: Any) -> Runner:
    """Return a runner of PPO with 8 lanes and 32 steps of each between updates."""
    discrete = isinstance(dream.model.action_space, spaces.Discrete)
    gaussian = {"mu_activation": "None", "sigma_activation": "None", "fixed_sigma": True,
                "mu_init": {"name": "default"}, "sigma_init": {"name": "const_initializer", "val": 0}}  # fmt: skip
    network = {"name": "actor_critic", "separate": False,
               "space": {"discrete": None} if discrete else {"continuous": gaussian},
               "mlp": {"units": [8, 9], "activation": "elu", "initializer": {"name": "default"}}}  # fmt: skip
    network.update(options.pop("network", {}))
    config = {
        "name": "test", "env_name": "dream", "env_config": {"max_episode_steps": LIMIT}, "num_actors": 8,
        "horizon_length": 32, "minibatch_size": 64, "mini_epochs": 1, "gamma": GAMMA, "tau": 0.9, "learning_rate": 1e-3,
        "entropy_coef": 0.0, "bounds_loss_coef": 0.0, "e_clip": 0.2, "clip_value": False, "critic_coef": 1.0,
        "grad_norm": 1.0, "normalize_input": False, "normalize_advantage": True, "reward_shaper": {"scale_value": 1.0},
        "lr_schedule": None, "device": "cpu", "device_name": "cpu", "max_epochs": 2, "games_to_track": 1000,
        "torch_compile": False, "print_stats": False, "train_dir": str(folder), **options,
    }  # fmt: skip
    kind = "discrete" if discrete else "continuous"
    model = "discrete_a2c" if discrete else "continuous_a2c_logstd"
    runner = Runner(observer)
    runner.load({"params": {"seed": 3, "torch_threads": 1, "algo": {"name": f"a2c_{kind}"}, "model": {"name": model},
                            "network": network, "config": config}})  # fmt: skip
    runner.params["config"]["env_config"]["model"] = dream
    return runner


def agent_of(runner: Runner) -> Any:
    return runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)


def close(agent: Any) -> None:
    agent.writer.close()


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("dream", [DREAM, LEVERS])
def test_what_a_rollout_holds_is_what_the_world_did(dream: LoadedDream, bootstrap: bool, tmp_path: Path) -> None:
    observer = TimeOuts()
    agent = agent_of(runner_of(dream, tmp_path, observer, value_bootstrap=bootstrap))
    agent.init_tensors()
    agent.obs = agent.env_reset()
    agent.set_eval()
    with torch.no_grad():
        agent.play_steps()
    seen = agent.experience_buffer.tensor_dict
    done = torch.cat([seen["dones"][1:].bool(), agent.dones[None].bool()])  # its dones are those before a step
    time_outs = torch.stack(observer.rows)
    reward = seen["rewards"][..., 0]
    if bootstrap:
        reward = reward - GAMMA * seen["values"][..., 0] * time_outs
    action = seen["actions"] if dream is DREAM else agent.preprocess_actions(seen["actions"])
    experience = Experience(
        obs=seen["obses"].numpy(), action=action.numpy(), reward=reward.numpy(),
        terminated=(done & ~time_outs).numpy(), truncated=(done & time_outs).numpy(),
    )  # fmt: skip
    found = check_experience(experience, LIMIT, dream.model.config)
    assert found.terminated > 10
    assert found.truncated > 3
    assert agent.game_rewards.current_size == len(found.returns)
    assert agent.game_rewards.get_mean().item() == pytest.approx(found.returns.mean(), rel=1e-5)
    assert agent.game_lengths.get_mean().item() == pytest.approx(found.lengths.mean(), rel=1e-5)
    close(agent)


@pytest.mark.parametrize("dream", [target(num_actions=5), target()])
@pytest.mark.parametrize(
    "network",
    [{}, {"separate": True}, {"mlp": {"units": [], "activation": "tanh", "initializer": {"name": "default"}}}],
)
def test_ppo_trains_and_its_policy_survives_the_export(dream: LoadedDream, network: Any, tmp_path: Path) -> None:
    runner = runner_of(dream, tmp_path, network=network)
    agent = agent_of(runner)
    before = copy.deepcopy(agent.model.state_dict())
    agent.train()
    assert agent.frame == 2 * 32 * 8
    assert any((value != before[name]).any() for name, value in agent.model.state_dict().items())
    export_policy(agent, dream, tmp_path / "policy.safetensors")
    policy = load_policy(tmp_path / "policy.safetensors")
    assert (policy.config.dream, policy.config.model_sha256) == ("Target-v0", "5ha")
    player = player_of(runner, agent)
    features = torch.linspace(-30, 30, 101)[:, None]
    expected = player.get_action(features, is_deterministic=True)
    assert len(expected.unique()) > 1
    torch.testing.assert_close(policy.act(features), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(export_policy(player, dream).act(features), expected, atol=1e-5, rtol=0)
    close(agent)


def player_of(runner: Runner, agent: Any) -> Any:
    """Return rl_games' player of a trained agent."""
    player = runner.create_player()
    player.model.load_state_dict(agent.model.state_dict())
    player.has_batch_dimension = True
    return player


def test_actions_of_any_range_are_stretched_as_in_training(tmp_path: Path) -> None:
    runner = runner_of(LEVERS, tmp_path)
    agent = agent_of(runner)
    features = 9 * torch.randn(200, 4)
    expected = player_of(runner, agent).get_action(features, is_deterministic=True)
    assert expected.abs().max() > 1
    torch.testing.assert_close(export_policy(agent, LEVERS).act(features), expected, atol=1e-5, rtol=0)
    close(agent)


@pytest.mark.parametrize("vectorised", [False, True])
def test_its_player_plays_whole_games(vectorised: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner = runner_of(DREAM, tmp_path, player={"use_vecenv": vectorised, "games_num": 6, "print_stats": False})
    player = runner.create_player()
    assert player.env.num_envs == (8 if vectorised else 1)
    player.run()
    summary = capsys.readouterr().out.splitlines()[-1]  # "av reward: 9.1 av steps: 4.5"
    steps = float(summary.split()[-1])
    assert 3 <= steps <= LIMIT
    earned = float(summary.split()[2])
    assert 6.6 - 0.6 <= earned <= LIMIT * (LIMIT + 1) / 2 + 0.2 * LIMIT


def test_the_seed_of_a_run_names_its_dreams(tmp_path: Path) -> None:
    one, two, other = (DreamVecEnv(DREAM, 20, seed=seed) for seed in (3, 3, 4))
    first = one.reset()
    assert torch.equal(first, two.reset())
    assert not torch.equal(first, other.reset())
    assert not torch.equal(first, one.reset())  # goes on
    one.seed(3)
    assert torch.equal(first, one.reset())
    agent = agent_of(runner_of(DREAM, tmp_path))  # of seed 3
    assert torch.equal(agent.env_reset()["obs"], DreamVecEnv(DREAM, 8, seed=3).reset())
    close(agent)


def test_what_is_no_plain_perceptron_is_not_exported(tmp_path: Path) -> None:
    rnn = {"rnn": {"name": "lstm", "units": 4, "layers": 1}}
    options: list[tuple[dict[str, Any], str]] = [
        ({"network": rnn, "seq_length": 4}, "expected PPO's 'actor_critic' without pictures, memory"),
        ({"normalize_input": True}, "train with normalize_input: False"),
        ({"network": {"mlp": {"units": [8], "activation": "gelu", "initializer": {"name": "default"}}}}, "'GELU'"),
    ]
    for changes, message in options:
        agent = agent_of(runner_of(DREAM, tmp_path, **changes))
        with pytest.raises(InvalidArgument, match=message):
            export_policy(agent, DREAM)
        close(agent)


def test_a_policy_of_another_dream_is_not_exported(tmp_path: Path) -> None:
    agent = agent_of(runner_of(DREAM, tmp_path))
    with pytest.raises(PolicyMismatch, match="Counting expects Box"):
        export_policy(agent, LEVERS)
    with pytest.raises(PolicyMismatch, match="the policy sees 4 features; Target-v0 has 1"):
        export_policy(agent, target(num_actions=3))
    close(agent)


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_another_mode_is_refused_with_the_right_one_named(mode: str) -> None:
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; rl_games .* use 'SameStep'"):
        DreamVecEnv(DREAM, 2, autoreset_mode=mode)
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; rl_games .* use 'SameStep'"):
        DreamVecEnv(DreamVectorEnv(DREAM, 2, autoreset_mode=mode))


def test_what_cannot_be_stepped_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="output is 'numpy'; rl_games takes tensors: use 'torch'"):
        DreamVecEnv(DreamVectorEnv(DREAM, 2, autoreset_mode="SameStep"))
    with pytest.raises(InvalidArgument, match=r"\['starts'\] were given beside a DreamVectorEnv of 3 lanes"):
        DreamVecEnv(DreamVectorEnv(DREAM, 3, autoreset_mode="SameStep", output="torch"), starts="first")
    with pytest.raises(UnsupportedSpace, match="starts at 1; rl_games needs integers from 0"):
        DreamVecEnv(counting_dream(action_space=spaces.Discrete(3, start=1)))
    with pytest.raises(UnsupportedSpace, match="has no bounds; rl_games stretches its actions over them"):
        DreamVecEnv(counting_dream(action_space=spaces.Box(-np.inf, np.inf, (1,), np.float32)))
    env = DreamVecEnv(DREAM, 4)
    env.reset()
    with pytest.raises(InvalidAction, match=r"shape \(3,\); Counting expects \(4,\)"):
        env.step(torch.zeros(3, dtype=torch.long))
