"""An untrained dream of Dodge-v0 on disk, small enough to be made anew for every module of tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from dreamgym.core.policy import Policy, PolicyConfig, save_policy
from dreamgym.core.starts import make_start_bank
from dreamgym.data.episodes import Episode
from dreamgym.hub import load, save_dream
from dreamgym.models.vae_mdn_rnn import Config, VaeMdnRnn
from dreamgym.real.dodge import make

CONFIG = Config(latent_dim=4, hidden_dim=8, channels=(4, 4, 8, 8))


def dodge_episode(seed: int, steps: int = 8) -> Episode:
    """Return the first steps of a game in which the ship goes left and right."""
    env = make()
    obs = [env.reset(seed=seed)[0]]
    action = np.arange(steps) % 3
    for a in action:
        obs.append(env.step(a)[0])
    reward = np.ones(steps, np.float32)
    return Episode(np.stack(obs), action.astype(np.int64), reward, terminated=False, truncated=True)


def save_tiny_dream(folder: Path, seed: int = 0, **card: Any) -> Path:
    """Write a dream whose weights `seed` draws, with a time limit of 40 decisions, and return its folder."""
    env = gym.make("Dodge-v0")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VaeMdnRnn(CONFIG, env.observation_space, env.action_space).eval()
    starts = make_start_bank(model, [dodge_episode(seed) for seed in range(3)], num_states=12)
    return save_dream(folder, model, starts, {"id": folder.name, "real": "Dodge-v0", "max_episode_steps": 40, **card})


def save_tiny_policy(path: Path, dream: Path, seed: int = 0) -> Path:
    """Write a policy for a dream, whose weights `seed` draws, that does one thing here and another there."""
    loaded = load(dream)
    config = PolicyConfig(
        input_dim=loaded.model.feature_dim, dream=loaded.name, model_sha256=loaded.model_sha256, hidden=(8,)
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        policy = Policy(config, loaded.model.action_space)
        features = loaded.model.features(loaded.starts.sample(torch.rand(64)))
        policy.net[-1].bias -= policy(features).mean(0)  # else an untrained policy does the same thing everywhere
        return save_policy(policy, path)
