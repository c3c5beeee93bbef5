"""Make a dream from recordings in Minari's format: train a world model on them, save it, and step it like any env.

    python examples/dream_from_your_recordings.py            # ten minutes on one core
    python examples/dream_from_your_recordings.py --smoke    # seconds

The recordings, of Dodge, are made here; put the id of a Minari dataset of yours into RECORDINGS (64x64 pictures).
Prints how long random play survives in the real environment and in the new dream; they should be close.
"""

import os
import sys

os.environ.setdefault("MINARI_DATASETS_PATH", os.path.abspath("runs/minari"))

import gymnasium as gym
import minari
import torch

import dreamgym
from dreamgym.core.model import StageConfig
from dreamgym.core.starts import make_start_bank
from dreamgym.data.collect import collect
from dreamgym.data.episodes import Dataset
from dreamgym.data.minari import from_minari, to_minari
from dreamgym.models.vae_mdn_rnn import Config, VaeMdnRnn
from dreamgym.training import TrainConfig, fit

SMOKE = "--smoke" in sys.argv
SIZE = "small" if SMOKE else "full"
RECORDINGS = f"dodge/{SIZE}-v0"
OUT = f"runs/{SIZE}_dream_of_recordings"
EPISODES, VAE_STEPS, RNN_STEPS, STARTS = (4, 2, 2, 20) if SMOKE else (800, 2500, 4000, 1000)

if RECORDINGS not in minari.list_local_datasets():
    collect("Dodge-v0", f"{OUT}/recorded", episodes=EPISODES)
    to_minari(Dataset(f"{OUT}/recorded"), RECORDINGS)

dataset = from_minari(RECORDINGS, f"{OUT}/data")
print(f"{len(dataset)} episodes, {dataset.num_steps} steps, mean return {dataset.returns.mean():.1f}")

torch.manual_seed(0)
model = VaeMdnRnn(Config(hidden_dim=128, channels=(16, 32, 64, 128)), dataset.observation_space, dataset.action_space)
stages = {
    "vae": StageConfig(steps=VAE_STEPS, batch_size=64, sequence_length=0),
    "mdn_rnn": StageConfig(steps=RNN_STEPS, batch_size=32, sequence_length=48, ending_share=0.1),
}
fit(model, dataset, f"{OUT}/training", stages=stages, config=TrainConfig(holdout=0.0 if SMOKE else 0.05))
starts = make_start_bank(model, dataset, num_states=STARTS)  # dreams begin in recorded situations
card = {"real": "Dodge-v0", "max_episode_steps": 300}
folder = dreamgym.save_dream(f"{OUT}/dream", model, starts, card)

env = gym.make("DreamEnv-v0", model=folder)  # the recorded env's spaces
obs, _ = env.reset(seed=0)
print(f"{folder} dreams pictures of shape {obs.shape}; train in it: dreamgym train-policy {folder}")
lengths = {
    side: sum(figures["lengths"]) / figures["episodes"]
    for side, figures in dreamgym.evaluate(folder, "random", episodes=2 if SMOKE else 50).items()
}
print(f"random play survives {lengths['real']:.1f} steps in the real environment, {lengths['dream']:.1f} in the dream")
