"""sb3-contrib in a dream: RecurrentPPO's rollouts are what the world did, and its memory is kept for each lane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

pytest.importorskip("sb3_contrib")
from sb3_contrib import QRDQN, TQC, TRPO, RecurrentPPO

import dreamgym
from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.bridges.sb3_contrib import RecurrentActor
from dreamgym.envs.twin import make_real
from dreamgym.errors import InvalidArgument, PolicyMismatch
from dreamgym.testing import Experience, check_experience, counting_dream
from dreamgym.testing.counting import LEVER

pytestmark = pytest.mark.integration

LANES, LIMIT = 5, 7
DREAM = counting_dream(lengths=(3, 5, 4, 9))


def recurrent(envs: Any, **options: Any) -> RecurrentPPO:
    kwargs = {"lstm_hidden_size": 8, "net_arch": [8], **options.pop("policy_kwargs", {})}
    options = {"n_steps": 64, "batch_size": 64, "n_epochs": 1, **options}
    return RecurrentPPO("MlpLstmPolicy", envs, policy_kwargs=kwargs, seed=0, device="cpu", **options)


class Recorder(BaseCallback):
    """Keeps the rollout buffer as it was filled, and what the env said of each end."""

    def __init__(self) -> None:
        super().__init__()
        self.dones: list[np.ndarray] = []
        self.truncated: list[np.ndarray] = []
        self.last: list[np.ndarray] = []
        self.episodes: list[tuple[float, int]] = []
        self.seen: Experience | None = None

    def _on_step(self) -> bool:
        last = self.locals["new_obs"].copy()
        for lane, info in enumerate(self.locals["infos"]):
            if "terminal_observation" in info:
                last[lane] = info["terminal_observation"]
                self.episodes.append((info["episode"]["r"], info["episode"]["l"]))
        self.last.append(last)
        self.dones.append(self.locals["dones"].copy())
        self.truncated.append(np.array([i.get("TimeLimit.truncated", False) for i in self.locals["infos"]]))
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = self.model.rollout_buffer
        dones, truncated = np.stack(self.dones), np.stack(self.truncated)
        assert (buffer.episode_starts[1:] == dones[:-1]).all()  # where the memory is emptied
        self.seen = Experience(
            obs=buffer.observations.copy(), action=buffer.actions.copy(), reward=buffer.rewards.copy(),
            terminated=dones & ~truncated, truncated=truncated, next_obs=np.stack(self.last),
        )  # fmt: skip


def test_a_rollout_is_what_the_world_did() -> None:
    envs = VecMonitor(DreamVecEnv(DREAM, LANES, max_episode_steps=LIMIT))
    recorder = Recorder()
    recurrent(envs, gamma=0.0).learn(64 * LANES, recorder)  # else the value of what was cut off is in the rewards
    assert recorder.seen is not None
    found = check_experience(recorder.seen, LIMIT, DREAM.model.config)
    assert found.terminated > 10
    assert found.truncated > 3
    returns, lengths = zip(*recorder.episodes, strict=True)
    assert sorted(lengths) == sorted(found.lengths)
    np.testing.assert_allclose(sorted(returns), sorted(found.returns), atol=1e-4)


@pytest.mark.parametrize("kind", [TRPO, QRDQN, TQC], ids=lambda kind: kind.__name__)
def test_the_other_algorithms_train(kind: Any) -> None:
    dream = counting_dream(action_space=LEVER) if kind is TQC else DREAM
    options = {"learning_starts": 16} if kind in (TQC, QRDQN) else {"n_steps": 16, "batch_size": 16}
    made = kind("MlpPolicy", DreamVecEnv(dream, 4, max_episode_steps=LIMIT), seed=0, device="cpu", **options)
    before = [p.clone() for p in made.policy.parameters()]
    made.learn(128)
    assert any((a != b).any() for a, b in zip(before, made.policy.parameters(), strict=True))


def test_an_actor_does_what_the_algorithm_does_lane_by_lane() -> None:
    ppo = recurrent(DreamVecEnv(counting_dream(action_space=LEVER), 4))
    actor = RecurrentActor(ppo, counting_dream(action_space=LEVER))
    features = torch.randn(6, 3, 4) * 3  # steps, lanes
    for _ in range(2):  # a second episode knows nothing of the first
        actor.reset([0, 1, 2])
        acted = np.stack([actor.act(step) for step in features])
        for lane in range(3):
            memory: Any = None
            for step in range(6):
                expected, memory = ppo.predict(
                    features[step, lane : lane + 1].numpy(), memory, np.array([step == 0]), deterministic=True
                )
                np.testing.assert_allclose(acted[step, lane], expected[0], atol=1e-5)


def test_an_actor_remembers() -> None:
    ppo = recurrent(DreamVecEnv(counting_dream(action_space=LEVER), 4))
    actor = RecurrentActor(ppo, counting_dream(action_space=LEVER))
    actor.reset([0])
    twice = [actor.act(torch.ones(1, 4)) for _ in range(2)]
    assert (twice[0] != twice[1]).all()
    actor.reset([0])
    assert (actor.act(torch.ones(1, 4)) == twice[0]).all()


def test_an_actor_is_scored_in_the_dream_and_in_its_real_twin() -> None:
    ppo = recurrent(DreamVecEnv("DreamDodge-v0", 4, max_episode_steps=20)).learn(256)
    actor = RecurrentActor(ppo, "DreamDodge-v0")
    scores = dreamgym.evaluate("DreamDodge-v0", actor, episodes=2, seed=5)
    assert scores["dream"]["episodes"] == scores["real"]["episodes"] == 2
    env = make_real("DreamDodge-v0", observation="features")
    obs, _ = env.reset(seed=5)
    memory: Any = None
    total, start, over = 0.0, True, False
    while not over:
        action, memory = ppo.predict(obs[None], memory, np.array([start]), deterministic=True)
        obs, reward, terminated, truncated, _ = env.step(action[0])
        total, start, over = total + float(reward), False, terminated or truncated
    assert total == pytest.approx(scores["real"]["returns"][0])


def test_what_cannot_act_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="algorithm is a PPO; expected a RecurrentPPO"):
        RecurrentActor(PPO("MlpPolicy", DreamVecEnv(DREAM, 2), device="cpu"), DREAM)
    with pytest.raises(InvalidArgument, match="VecNormalize changes what the policy sees"):
        RecurrentActor(recurrent(VecNormalize(DreamVecEnv(DREAM, 2))), DREAM)
    with pytest.raises(PolicyMismatch, match=r"shape \(4,\); DreamDodge-v0 has \d+ features"):
        RecurrentActor(recurrent(DreamVecEnv(DREAM, 2)), "DreamDodge-v0")
    with pytest.raises(PolicyMismatch, match="Counting expects Box"):
        RecurrentActor(recurrent(DreamVecEnv(DREAM, 2)), counting_dream(action_space=LEVER))
