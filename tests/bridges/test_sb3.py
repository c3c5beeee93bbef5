"""SB3 in a dream: no two episodes spliced, true terminal observations, learning, and policies exported unchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from target import target
from torch import Tensor, nn

from dreamgym.bridges.sb3 import DreamVecEnv, export_policy
from dreamgym.core import noise
from dreamgym.core.model import Obs, Transition, WorldModel
from dreamgym.core.policy import Policy, load_policy
from dreamgym.core.starts import StartBank
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import ForeignDream, InvalidAction, InvalidArgument, PolicyMismatch, UnsupportedSpace
from dreamgym.hub import LoadedDream


@dataclass(frozen=True)
class CountState:
    key: Tensor  # [B] of the start: it names the episode
    t: Tensor  # [B]


class CountingWorld(WorldModel[CountState]):
    """Shows (key, t); step t pays t and an episode ends after 3 + key % 7 steps; a key above 90 diverges at its end."""

    action_space = spaces.Box(-1, 1, (1,), np.float32)
    noise_dim, feature_dim = 1, 2

    def __init__(self, pictures: bool = False) -> None:
        vector, picture = spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.Box(0, 255, (40, 48, 3), np.uint8)
        self.observation_space = picture if pictures else vector

    def initial(self, batch_size: int) -> CountState:
        return CountState(torch.zeros(batch_size), torch.zeros(batch_size))

    def observe(
        self, state: CountState, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> CountState:
        return state

    def step(
        self, state: CountState, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Transition[CountState]:
        t = state.t + 1
        ends = t >= 3 + state.key % 7
        reward = torch.where(ends & (state.key > 90), torch.nan, t)
        return Transition(CountState(state.key, t), reward, ends.float())

    def features(self, state: CountState) -> Tensor:
        return torch.stack([state.key, state.t], 1)

    def decode(self, state: CountState) -> Obs:
        if self.observation_space.shape == (2,):
            return self.features(state)
        return (state.t / 255)[:, None, None, None].expand(-1, 3, 40, 48)


KEYS = StartBank(CountState(torch.arange(100.0), torch.zeros(100)), torch.ones(100, dtype=torch.bool))


def counting(pictures: bool = False) -> LoadedDream:
    return LoadedDream(CountingWorld(pictures), KEYS, {"id": "Counting-v0"})


def env_of(dream: LoadedDream, num_envs: int = 4, **kwargs: Any) -> DreamVecEnv:
    env = DreamVecEnv(dream, num_envs, **{"max_episode_steps": 8, **kwargs})
    env.seed(0)
    return env


def key_of(lane: int, episode: int) -> float:
    """Return the start that lane `lane`, seeded with its number, draws for an episode."""
    chosen = KEYS.sample(noise.uniform(torch.tensor([lane]), noise.START, torch.tensor([episode])))
    return chosen.key.item()


def act(env: DreamVecEnv) -> np.ndarray:
    return np.stack([env.action_space.sample() for _ in range(env.num_envs)])


def test_no_two_episodes_are_spliced() -> None:
    env = env_of(counting(), 6)
    obs = env.reset()
    episode, t, ends = [0] * 6, [0] * 6, {"terminated": 0, "limit": 0, "diverged": 0}
    for _ in range(120):
        obs, reward, done, info = env.step(act(env))
        for lane in range(6):
            key = key_of(lane, episode[lane])
            length = 3 + key % 7
            diverged = t[lane] + 1 == length and key > 90
            if not diverged:  # a lane that diverged stays in its last finite state, unpaid
                t[lane] += 1
            assert reward[lane] == (0 if diverged else t[lane])
            if not (diverged or t[lane] == min(length, 8)):
                assert not done[lane]
                assert info[lane] == {}
                assert obs[lane].tolist() == [key, t[lane]]
                continue
            assert done[lane]
            assert set(info[lane]) == {"terminal_observation", "TimeLimit.truncated", "diverged"}
            assert info[lane]["terminal_observation"].tolist() == [key, t[lane]]
            assert info[lane]["TimeLimit.truncated"] is (diverged or length > 8)  # both at once is a termination
            assert info[lane]["diverged"] is diverged
            ends["diverged" if diverged else "terminated" if length <= 8 else "limit"] += 1
            episode[lane], t[lane] = episode[lane] + 1, 0
            assert obs[lane].tolist() == [key_of(lane, episode[lane]), 0]
    assert min(ends.values()) > 0


def test_lanes_that_run_on_share_no_dict() -> None:
    env = env_of(counting())
    env.reset()
    first, second = env.step(act(env))[3], env.step(act(env))[3]
    assert len({id(info) for info in [*first, *second]}) == 8


class Lending(CountingWorld):
    """Hands out its own memory as the reward."""

    def step(self, *args: Any, **kwargs: Any) -> Transition[CountState]:
        out = super().step(*args, **kwargs)
        return replace(out, reward=out.state.t)


def test_what_a_step_returned_belongs_to_the_learner() -> None:
    env = env_of(LoadedDream(Lending(), KEYS))
    env.reset()
    first, reward, _, _ = env.step(act(env))
    kept = first.copy()
    reward[:] = 99  # PPO adds the value of what was cut off
    second, reward, _, _ = env.step(act(env))
    assert (first == kept).all()
    assert second[:, 1].tolist() == reward.tolist() == [2] * 4


def test_dtypes_and_shapes_are_those_of_sb3() -> None:
    env = env_of(counting())
    assert env.reset().shape == (4, 2)
    obs, reward, done, info = env.step(act(env))
    assert (obs.dtype, reward.dtype, done.dtype) == (np.float32, np.float32, np.bool_)
    assert (obs.shape, reward.shape, done.shape, len(info)) == ((4, 2), (4,), (4,), 4)


def test_episode_returns_in_vec_monitor_are_right() -> None:
    env = VecMonitor(env_of(counting()))
    env.reset()
    seen = 0
    for _ in range(40):
        _, _, _, infos = env.step(act(env.unwrapped))
        for info in infos:
            if "episode" in info and not info["diverged"]:
                n = info["episode"]["l"]
                assert n == info["terminal_observation"][1]
                assert info["episode"]["r"] == n * (n + 1) / 2
                seen += 1
    assert seen > 10


def test_the_same_seed_dreams_the_same_and_an_unseeded_reset_goes_on() -> None:
    env = env_of(counting(), 16)
    first = env.reset()
    assert not (env.reset() == first).all()
    env.seed(0)
    assert (env.reset() == first).all()
    env.seed(1)
    assert (env.reset()[:-1] == first[1:]).all()  # lane i is seeded with seed + i


def test_rewards_can_be_scaled() -> None:
    env = env_of(counting(), reward_scale=0.5)
    env.reset()
    assert env.step(act(env))[1].tolist() == [0.5] * 4


def test_pixels_are_the_pictures_of_the_real_env() -> None:
    env = env_of(counting(pictures=True), observation="pixels")
    assert (env.reset() == 0).all()
    obs, _, _, _ = env.step(act(env))
    assert (obs.shape, obs.dtype) == ((4, 40, 48, 3), np.uint8)
    assert (obs == 1).all()


def test_both_is_a_dict_also_at_the_end_of_an_episode() -> None:
    env = env_of(counting(pictures=True), observation="both")
    assert {name: part.shape for name, part in env.reset().items()} == {"pixels": (4, 40, 48, 3), "features": (4, 2)}
    for _ in range(8):
        infos = env.step(act(env))[3]
    last = next(info for info in infos if info)["terminal_observation"]
    assert (last["pixels"] == last["features"][1]).all()


def test_a_same_step_env_can_be_taken_as_it_is() -> None:
    envs = DreamVectorEnv(counting(), 3, autoreset_mode="SameStep", observation="features")
    env = DreamVecEnv(envs)
    assert env.num_envs == 3
    env.reset()
    obs = env.step(act(env))[0]
    assert obs[:, 1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_another_mode_is_refused_with_the_right_one_named(mode: str) -> None:
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; SB3 .* use 'SameStep'"):
        DreamVecEnv(counting(), 2, autoreset_mode=mode)
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; SB3 .* use 'SameStep'"):
        DreamVecEnv(DreamVectorEnv(counting(), 2, autoreset_mode=mode))


def test_options_beside_an_env_are_refused() -> None:
    envs = DreamVectorEnv(counting(), 3, autoreset_mode="SameStep")
    with pytest.raises(InvalidArgument, match=r"\['starts'\] were given beside a DreamVectorEnv of 3 lanes"):
        DreamVecEnv(envs, starts="first")
    with pytest.raises(InvalidArgument, match=r"\['num_envs'\] were given beside a DreamVectorEnv of 3 lanes"):
        DreamVecEnv(envs, 4)


def test_integers_that_do_not_start_at_0_are_refused() -> None:
    dream = target(num_actions=3)
    dream.model.action_space = spaces.Discrete(3, start=1)
    with pytest.raises(UnsupportedSpace, match="starts at 1; SB3 needs integers from 0"):
        DreamVecEnv(dream)


def test_an_action_that_is_no_number_is_refused() -> None:
    env = env_of(counting())
    env.reset()
    with pytest.raises(InvalidAction, match=r"action holds nan; Counting-v0 expects \(4, 1\)"):
        env.step(np.full((4, 1), np.nan, np.float32))


def test_attributes_and_methods_are_reached_for_the_lanes_asked_for() -> None:
    env = env_of(counting())
    env.reset()
    assert env.get_attr("num_envs") == [4] * 4
    assert env.get_attr("num_envs", indices=[0, 2]) == [4, 4]
    env.set_attr("render_mode", "rgb_array")
    assert env.get_attr("render_mode", indices=1) == ["rgb_array"]
    assert env.has_attr("dream")
    assert not env.has_attr("nothing")
    assert [len(state.done) for state in env.env_method("get_state", indices=[1, 3])] == [4, 4]
    assert env.env_is_wrapped(VecMonitor) == [False] * 4


def test_render_tiles_the_pictures_of_the_lanes() -> None:
    env = env_of(counting(pictures=True), render_mode="rgb_array")
    env.reset()
    assert env.render().shape == (2 * 40 * 6, 2 * 48 * 6, 3)  # four lanes, enlarged to at least 240
    env.close()


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "SAC"])
def test_a_box_policy_trains_and_survives_the_export(algorithm: str, tmp_path: Path) -> None:
    env = env_of(target())
    made: Any = {
        "PPO": lambda: PPO("MlpPolicy", env, n_steps=16, batch_size=64, seed=0, device="cpu"),
        "A2C": lambda: A2C("MlpPolicy", env, policy_kwargs={"net_arch": []}, seed=0, device="cpu"),
        "SAC": lambda: SAC("MlpPolicy", env, policy_kwargs={"net_arch": [8, 9]}, learning_starts=8, device="cpu"),
    }[algorithm]()  # fmt: skip
    made.learn(200)
    policy = export_policy(made, target(), tmp_path / "policy.safetensors")
    assert_equal(policy, made)
    assert_equal(load_policy(tmp_path / "policy.safetensors"), made)
    assert (policy.config.dream, policy.config.model_sha256) == ("Target-v0", "5ha")


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_a_discrete_policy_trains_and_survives_the_export(kind: Any) -> None:
    env = env_of(target(num_actions=5))
    options: dict[str, Any] = {"n_steps": 16, "batch_size": 64} if kind is PPO else {"learning_starts": 8}
    made = kind("MlpPolicy", env, seed=0, device="cpu", **options).learn(200)
    assert_equal(export_policy(made, target(num_actions=5)), made)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU])
def test_every_activation_survives_the_export(activation: type[nn.Module]) -> None:
    kwargs = {"activation_fn": activation, "net_arch": [7, 6]}
    made = PPO("MlpPolicy", env_of(target()), policy_kwargs=kwargs, n_steps=16, batch_size=64, device="cpu")
    policy = export_policy(made, target())
    assert policy.config.hidden == (7, 6)
    assert_equal(policy, made)


def assert_equal(policy: Policy, algorithm: Any) -> None:
    features = np.linspace(-3, 3, 101, dtype=np.float32)[:, None]
    with torch.no_grad():
        ours = policy.act(torch.from_numpy(features)).numpy()
    theirs = algorithm.predict(features, deterministic=True)[0]
    assert len(np.unique(theirs)) > 1 or isinstance(policy.action_space, spaces.Discrete)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_is_no_perceptron_is_not_exported() -> None:
    pictures = env_of(counting(pictures=True), observation="pixels")
    cnn = PPO("CnnPolicy", pictures, n_steps=16, batch_size=64, device="cpu")
    with pytest.raises(PolicyMismatch, match=r"shape \(3, 40, 48\); Counting-v0 has 2 features"):
        export_policy(cnn, counting(pictures=True))
    both = env_of(counting(pictures=True), observation="both")
    with pytest.raises(PolicyMismatch, match="shape None; Counting-v0 has 2 features"):
        export_policy(PPO("MultiInputPolicy", both, n_steps=16, batch_size=64, device="cpu"), counting())
    squashed = PPO("MlpPolicy", env_of(target()), use_sde=True, policy_kwargs={"squash_output": True}, n_steps=16,
                   batch_size=64, device="cpu")  # fmt: skip
    with pytest.raises(InvalidArgument, match="a ActorCriticPolicy cannot be exported; expected 'MlpPolicy'"):
        export_policy(squashed, target())
    odd = PPO("MlpPolicy", env_of(target()), policy_kwargs={"activation_fn": nn.GELU}, n_steps=16, batch_size=64,
              device="cpu")  # fmt: skip
    with pytest.raises(InvalidArgument, match="layers are .*'GELU'.* expected Linear layers with one of tanh, relu"):
        export_policy(odd, target())


def test_a_policy_behind_a_normalizer_is_not_exported() -> None:
    made = PPO("MlpPolicy", VecNormalize(env_of(target())), n_steps=16, batch_size=64, device="cpu")
    with pytest.raises(InvalidArgument, match="VecNormalize changes what the policy sees"):
        export_policy(made, target())


def test_a_policy_of_another_action_space_is_not_exported() -> None:
    made = PPO("MlpPolicy", env_of(target()), n_steps=16, batch_size=64, device="cpu")
    with pytest.raises(PolicyMismatch, match="Target-v0 expects Discrete"):
        export_policy(made, target(num_actions=5))


def test_a_policy_of_sb3_is_not_loaded_without_export(tmp_path: Path) -> None:
    PPO("MlpPolicy", env_of(target()), n_steps=16, batch_size=64, device="cpu").save(tmp_path / "ppo.zip")
    with pytest.raises(ForeignDream, match="Export it first: dreamgym.bridges.sb3.export_policy"):
        load_policy(tmp_path / "ppo.zip")


def test_ppo_trains_on_pictures_and_on_dicts() -> None:
    for policy, observation in (("CnnPolicy", "pixels"), ("MultiInputPolicy", "both")):
        env = env_of(counting(pictures=True), observation=observation)
        PPO(policy, env, n_steps=16, batch_size=64, n_epochs=1, device="cpu").learn(64)
