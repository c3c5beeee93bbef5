"""What ships: every dream loads, dreams, acts and says where it comes from, within the size that was promised."""

from __future__ import annotations

import math
from pathlib import Path

import dreamgym.pretrained
import gymnasium as gym
import pytest
import torch

from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.hub import load, load_policy
from dreamgym.registry import DREAMS, find_dream

SHIPPED = Path(dreamgym.pretrained.__file__).parent
VARIANTS = [
    (id, variant)
    for id, dream in DREAMS.items()
    for variant, folder in dream.variants.items()
    if folder.parent == SHIPPED
]
MIB = 2**20


def test_a_file_takes_at_most_12_mib_and_all_together_60():
    sizes = [path.stat().st_size for path in SHIPPED.rglob("*.safetensors")]
    assert max(sizes) <= 12 * MIB
    assert sum(sizes) <= 60 * MIB


def test_the_default_car_dream_is_the_recurrent_state_space_model():
    assert list(find_dream("DreamCarRacing-v0").variants) == ["rssm", "vae_mdn_rnn"]


@pytest.mark.parametrize(("id", "variant"), VARIANTS)
def test_a_dream_takes_at_most_12_mib(id: str, variant: str):
    assert sum(path.stat().st_size for path in find_dream(id).folder(variant).iterdir()) <= 12 * MIB


@pytest.mark.parametrize(("id", "variant"), VARIANTS)
def test_its_policy_acts_in_it(id: str, variant: str):
    dream = load(id, variant)
    policy = load_policy("shipped", dream)
    envs = DreamVectorEnv(dream, 8, observation="features", output="torch", autoreset_mode="SameStep")
    obs, _ = envs.reset(seed=0)
    rewards = []
    for _ in range(50):
        with torch.no_grad():
            action = policy.act(obs)
        obs, reward, *_ = envs.step(action)
        rewards.append(reward)
    earned = torch.stack(rewards).mean()
    assert math.isfinite(float(earned))
    probes = dream.card["probes"]["random"]["dream"]["reward_per_decision"]
    assert id in ("DreamDodge-v0", "DreamCartPole-v0") or earned > probes  # these two pay each decision the same


@pytest.mark.parametrize(("id", "variant"), VARIANTS)
def test_its_card_says_what_it_learned_from_and_what_it_is_worth(id: str, variant: str):
    card = load(id, variant).card
    assert card["id"] == id
    assert any("dreamgym train " in command for command in card["commands"])
    assert card["data"]["steps"] > 1000
    for side in ("real", "dream"):
        assert card["scores"][side]["episodes"] >= 20
        assert {"mean", "std", "min", "reward_per_decision"} <= set(card["scores"][side])
    assert {"random"} <= set(card["probes"])


@pytest.mark.parametrize("id", dict(VARIANTS))
def test_a_single_dream_shows_what_the_real_env_would(id: str):
    env = gym.make(id)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    obs, reward, *_ = env.step(env.action_space.sample())
    assert obs in env.observation_space
    assert math.isfinite(reward)
