# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own recordings
#
# You have logs of something: what was seen, what was done, what it earned. This notebook makes a world of such logs,
# trains a policy in that world alone, and then asks how far it can be trusted.
#
# - **You need** `pip install "dreamgym[notebooks]"`, one processor core, no GPU and no network.
# - **It takes** about a minute on a free core.
# - **You will see** a Minari dataset of a pendulum that flails about at random; a dream of it, as a registered
#   environment; SAC, which swings the real pendulum up though it has never met it; and a report, read line by line.

# %% tags=["parameters"]
EPISODES = 50  # recorded, 200 random steps each
TRAINING = 3000  # steps of the world model's optimiser
LANES = 32  # dreams that SAC acts in at once
DECISIONS = 33_000  # of SAC, all dreamed
SCORED = 20  # real episodes that say what a policy is worth
WINDOWS = 32  # stretches of held-out episodes for the report

# %%
import tempfile
import time
import warnings
from pathlib import Path

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch

OUT = Path(tempfile.mkdtemp(prefix="recordings-"))  # a lasting folder keeps what is made here
torch.set_num_threads(1)  # small batches are slower with more
plt.rcParams.update({"figure.figsize": (8, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
STARTED, FRESH = time.process_time(), 992_000  # FRESH: seeds on which nothing was recorded or chosen

# %% [markdown]
# ## Record
#
# Logs are arrays: of each episode what was seen, `T + 1` rows, and what was done and earned, `T` rows. Here a
# pendulum is driven at random for them. Put your own in their place; if there are none yet, `dreamgym collect`
# records any Gymnasium env.

# %%
env, logs = gym.make("Pendulum-v1"), []
env.action_space.seed(0)
for episode in range(EPISODES):
    obs, actions, rewards = [env.reset(seed=episode)[0]], [], []
    for _ in range(200):
        actions.append(env.action_space.sample())
        after, reward, *_ = env.step(actions[-1])
        obs.append(after)
        rewards.append(reward)
    logs.append({"observations": np.stack(obs), "actions": np.stack(actions), "rewards": np.array(rewards)})

# %% [markdown]
# Minari is the format in which recorded experience is shared; what it makes of the arrays is a dataset with a name.

# %%
import os

import minari
from minari.data_collector import EpisodeBuffer

os.environ["MINARI_DATASETS_PATH"] = str(OUT / "minari")
last = np.arange(200) == 199  # the time limit cuts an episode off there; nothing ends it
buffers = [EpisodeBuffer(**log, terminations=np.zeros(200, bool), truncations=last) for log in logs]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of author and licence, which a private dataset need not name
    minari.create_dataset_from_buffers("pendulum/flailing-v0", buffers, env="Pendulum-v1")

# %%
from dreamgym.data.minari import from_minari

dataset = from_minari("pendulum/flailing-v0", OUT / "data")
print(f"{len(dataset)} episodes, {dataset.num_steps} steps, mean return {dataset.returns.mean():.0f}")
obs = np.concatenate([episode.obs for episode in dataset])
angle = np.degrees(np.arctan2(obs[:, 1], obs[:, 0]))  # 0 is upright
_, axes = plt.subplots()
axes.scatter(angle, obs[:, 2], s=1, alpha=0.3)
axes.set(xlabel="angle, degrees; 0 is upright", ylabel="speed, rad/s")
plt.show()

# %% [markdown]
# A motor too weak to lift the pendulum, driven at random: it hangs at 180 degrees and swings, and now and then it is
# seen near the top. That is enough to learn what a torque does anywhere. Nobody here knows how to balance.
#
# ## Learn the world
#
# Five perceptrons learn how the three numbers change and what a step earns. A fifth of the episodes is put aside, for
# the report. On a shell: `dreamgym train --data minari:pendulum/flailing-v0 --model mlp_ensemble --out runs/mine`.

# %%
from dreamgym.core.model import StageConfig
from dreamgym.models.mlp_ensemble import Config, MlpEnsemble
from dreamgym.training import TrainConfig, fit

HOLDOUT = 0.2
torch.manual_seed(0)
config = Config(hidden_dim=64, layers=2, termination="never")  # five members; only the time limit ends an episode
model = MlpEnsemble(config, dataset.observation_space, dataset.action_space)
stages = {"ensemble": StageConfig(steps=TRAINING, batch_size=256, sequence_length=1)}
quiet = TrainConfig(holdout=HOLDOUT, progress=False, tensorboard=False)
result = fit(model, dataset, OUT / "training", stages=stages, config=quiet)
print("on held-out episodes:", {name: round(value, 3) for name, value in result.validation["ensemble"].items()})

# %%
from dreamgym.core.codec import encode_action
from dreamgym.core.filter import observe_real

episode = dataset[0]
state = observe_real(model, None, list(episode.obs[:-1]))  # every moment of an episode, one a lane
action = encode_action(model.action_space, episode.action)
with torch.no_grad():
    out = model.step(state, action, torch.zeros(len(episode), model.noise_dim))
found = {"speed, rad/s": (episode.obs[1:, 2], model.decode(out.state)[:, 2]), "reward": (episode.reward, out.reward)}
_, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for axes, (name, (real, said)) in zip(panels, found.items(), strict=True):
    axes.plot([real.min(), real.max()], [real.min(), real.max()], color="0.7")
    axes.scatter(real, said.numpy(), s=4)
    axes.set(title=name, xlabel="one step later, real", ylabel="said by the model")
plt.show()

# %% [markdown]
# ## From a model to a dream
#
# A dream is a model, real situations to begin in, and a card. Saved, it is a folder of plain numbers with their
# checksums; registered, it is an id like any other.

# %%
import dreamgym
from dreamgym.core.starts import make_start_bank

train, held_out = dataset.split(HOLDOUT)
starts = make_start_bank(model, train, num_states=1000)
card = {"id": "DreamFlailing-v0", "real": "Pendulum-v1", "max_episode_steps": 200}
folder = dreamgym.save_dream(OUT / "dream", model, starts, card)
dreamgym.register_dream("DreamFlailing-v0", variants={"mine": folder}, real="Pendulum-v1", max_episode_steps=200)
env = gym.make("DreamFlailing-v0", render_mode="rgb_array")
print(env.observation_space, env.action_space, sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# A held-out episode and its dream: both begin in the same situation and get the same torques. The dream is never told
# what really happened.

# %%
episode, at = held_out[0], range(0, 41, 5)
state = observe_real(model, None, [episode.obs[0]])
action = encode_action(model.action_space, episode.action)  # [T, 1]
dreamed = [model.decode(state)[0].numpy()]
generator = torch.Generator().manual_seed(0)
with torch.no_grad():
    for t in range(max(at)):
        state = model.step(state, action[t : t + 1], torch.randn(1, model.noise_dim, generator=generator)).state
        dreamed.append(model.decode(state)[0].numpy())

# %%
from dreamgym.envs.painters import make_painter

paint = make_painter(dreamgym.load("DreamFlailing-v0"))
_, grid = plt.subplots(2, len(at), figsize=(10, 2.6), layout="constrained")
for row, (name, frames) in zip(grid, {"real": episode.obs, "dream": dreamed}.items(), strict=True):
    for axes, t in zip(row, at, strict=True):
        axes.imshow(paint(np.asarray(frames[t]), None)[100:400, 100:400])
        axes.set(xticks=[], yticks=[], title=f"step {t}" if name == "real" else None)
    row[0].set_ylabel(name)
plt.show()

# %% [markdown]
# ## A policy that has never met the pendulum
#
# Stable-Baselines3's SAC, in 32 dreams at once. Each lasts 20 steps and begins in some recorded situation: short
# dreams go less astray.

# %%
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecMonitor

from dreamgym.bridges.sb3 import DreamVecEnv, export_policy

envs = VecMonitor(DreamVecEnv("DreamFlailing-v0", LANES, max_episode_steps=20), str(OUT / "sac"))
network = {"net_arch": [64, 64]}
sac = SAC("MlpPolicy", envs, learning_rate=1e-3, gradient_steps=4, policy_kwargs=network, seed=0, device="cpu")
sac.learn(DECISIONS)
policy = export_policy(sac, "DreamFlailing-v0", OUT / "policy.safetensors")

# %%
log = np.genfromtxt(OUT / "sac.monitor.csv", delimiter=",", skip_header=2)  # return, length, time of each dream
per_step = (log[:, 0] / log[:, 1])[: len(log) // LANES * LANES].reshape(-1, LANES).mean(1)
_, axes = plt.subplots()
axes.plot(20 * LANES * np.arange(1, len(per_step) + 1), per_step)
axes.set(xlabel="dreamed decisions", ylabel="reward of a step")
plt.show()

# %% [markdown]
# A short dream that begins hanging down earns little, whatever is done; hence the noise and the low mean. So much for
# promises. Now the real pendulum, for the first time since the recordings.

# %%
scores = {
    name: dreamgym.evaluate("DreamFlailing-v0", who, episodes=SCORED, seed=FRESH)
    for name, who in {"random": "random", "SAC": policy}.items()
}
_, axes = plt.subplots(figsize=(8, 2.2))
rows = {f"{name}, {side}": scores[name][side]["returns"] for name in scores for side in ("dream", "real")}
axes.boxplot(list(rows.values()), orientation="horizontal", tick_labels=list(rows), whis=(0, 100))
axes.set(xlabel=f"return of {SCORED} episodes")
plt.show()
for name, score in scores.items():
    dream, real = score["dream"], score["real"]
    print(f"{name:6}: dream {dream['mean']:.0f}, real {real['mean']:.0f}, worst {real['min']:.0f}")

# %% [markdown]
# SAC swings the real pendulum up: -125 in the mean, where random torques earn -1,128 and the recordings -1,228. Its
# dream ends at more than 0 now and then, which no real episode can: the reward is learned too, and the top was seldom
# seen.
#
# ## How far can it be trusted?
#
# `dreamgym report` measures that and writes a page. Here is the same in Python. The policy is shipped with the dream
# first, so that the report can look at the situations that it gets into.

# %%
from dreamgym.hub import ship_policy
from dreamgym.report.config import ReportConfig
from dreamgym.report.run import measure

ship_policy(folder, policy)
size = ReportConfig(horizon=50, windows=WINDOWS, episodes=max(2, SCORED // 2), lanes=(1, 64), seconds=0.1)
report, dreams = measure("DreamFlailing-v0", data=[OUT / "data"], holdout=HOLDOUT, config=size)
for row in report["verdict"]:
    sign = {True: "trust ", False: "DO NOT", None: "  ?   "}[row["holds"]]
    print(f"{sign}  {row['claim']}: {row['figures']}")

# %% [markdown]
# Each line is a rule with a threshold, and the figures that decided. Two of them deserve a picture. **With closed
# eyes**: the model dreams on from the recorded torques alone; 1 is the error of always guessing the mean, and a dream
# is worth its name as long as it beats the last moment repeated.

# %%
ahead = report["horizon"]["observations"]
_, axes = plt.subplots()
axes.semilogy(ahead["after"], ahead["still"], color="0.6", label="the last moment, repeated")
axes.semilogy(ahead["after"], ahead["other"], color="0.8", label="another episode")
axes.semilogy(ahead["after"], ahead["dream"], label="a dream")
axes.semilogy(ahead["after"], ahead["best"], ls="--", color="C0", label="the best of 19 dreams")
axes.set(xlabel="steps with closed eyes", ylabel="squared error, share of variance")
axes.legend(frameon=False, fontsize=8)
plt.show()
print(f"trusted for {ahead['trusted']} steps")

# %% [markdown]
# With closed eyes it stays true for all 50 steps. But one line says no: the dream cannot be trusted to *predict a
# policy's score*. The other picture tells why. **Policies, in pairs**: whoever is good in the dream should be good in
# reality, and by as much. Points on the line are promises that were kept.

# %%
_, axes = plt.subplots(figsize=(6, 4.2), layout="constrained")
for number, row in enumerate(report["transfer"]["policies"]):
    axes.scatter(row["real"]["value"], row["dream"]["value"], label=row["name"], color=plt.cm.tab20(number), zorder=2)
values = [row[side]["value"] for row in report["transfer"]["policies"] for side in ("real", "dream")]
axes.plot([min(values), max(values)], [min(values), max(values)], color="0.8", zorder=1)
axes.set(xlabel="real return", ylabel="dreamed return", aspect="equal")
axes.legend(frameon=False, fontsize=8, bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# Seven of nine lie on the line. Those that hold one torque for ever do not: the real pendulum earns -1,300 with them,
# the dream thinks it far worse. Nobody in the recordings pulled one way for 200 steps, so these are guesses. The
# order is nearly right all the same, which is why the report trusts the dream to *choose* among policies, and not to
# say what they earn. That is what a report is for: the mean error alone would have hidden which of the two it is.
#
# The page itself, with the rest of the figures, is one file to send around.

# %%
from dreamgym.report.write import write

files = write(report, OUT / "report", model, dreams)
print({name: f"{path.stat().st_size / 1000:.0f} kB" for name, path in files.items()})
print("not measured:", "; ".join(f"{row['part']} ({row['why']})" for row in report["missing"]) or "nothing")
print(f"{(time.process_time() - STARTED) / 60:.1f} minutes of processor time")

# %% [markdown]
# ## Exercises
#
# 1. Record 5 episodes instead of 50. Which line of the verdict gives way first, and does SAC's real score follow it?
# 2. Let SAC dream for 200 steps instead of 20. Does the dream promise more than reality keeps? Then give
#    `DreamVecEnv` `wrap=[("penalize_disagreement", {"weight": 3.0})]` and compare.
# 3. Take recordings of your own, or `minari download` some: vectors go into an `mlp_ensemble` as here, pictures of
#    64x64 into `vae_mdn_rnn` or `rssm`. What does the report refuse to vouch for?
