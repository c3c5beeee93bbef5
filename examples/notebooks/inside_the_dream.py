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
# # Inside the dream
#
# The world model of Ha & Schmidhuber (2018) in three parts: **V** sees, a picture becomes 32 numbers; **M** remembers
# and predicts, 32 numbers and an action become the next 32 numbers; **C** acts. C is small and learns where nothing
# costs anything: in what M dreams. The world is Dodge, where things fall on a ship.
#
# - **You need** `pip install "dreamgym[notebooks]"`, one processor core, no GPU.
# - **It takes** about six minutes on a free core.
# - **You will see** V and M learn from random play; the ship learn to dodge in dreams; what goes wrong with a dream
#   that cannot branch, and with one that is too sure of itself; and the real scores of all, at the end.

# %% tags=["parameters"]
EPISODES = 800  # of random play, some thirty steps each
V_STEPS = 2000  # steps of V's optimiser, 64 pictures each
M_STEPS = 1500  # steps of M's optimiser, 32 stretches of 32 steps each
GENERATIONS = 20  # of evolution
DECISIONS = 200_000  # of PPO in a dream
LANES = 256  # dreams at once
SCORED = 20  # real episodes that say what a policy is worth
POLES = 250  # recorded steps of CartPole, for the last section
POLE_DECISIONS = 60_000  # of PPO there

# %%
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

torch.set_num_threads(1)  # small batches are slower with more
plt.rcParams.update({"figure.figsize": (8, 3), "figure.dpi": 80, "axes.spines.top": False, "axes.spines.right": False})
OUT = Path(tempfile.mkdtemp(prefix="inside-"))
STARTED, FRESH = time.process_time(), 993_000  # FRESH: seeds on which nothing was recorded or chosen

# %% [markdown]
# ## Random play
#
# All that is ever known of Dodge before the last section: pictures, actions, a point for each step survived, and
# where it ended. Grey rocks fall straight, comets slant; pink diamonds with two horns toss a coin and veer left or
# right.

# %%
from dreamgym.data.collect import collect
from dreamgym.data.episodes import Dataset

recorded = collect("Dodge-v0", OUT / "data", episodes=EPISODES, driver="random", progress=False)
data = Dataset(OUT / "data")
print(f"{recorded['episodes']} episodes, {recorded['steps']} steps; {recorded['return_mean']:.1f} points an episode")
episode = data[0]
_, grid = plt.subplots(1, 8, figsize=(10, 1.6), layout="constrained")
for axes, t in zip(grid, np.linspace(0, len(episode), 8).astype(int), strict=True):
    axes.imshow(episode.obs[t])
    axes.set(xticks=[], yticks=[], title=f"step {t}")
plt.show()

# %% [markdown]
# ## V sees
#
# A variational autoencoder: the picture through four convolutions to 32 Gaussians, a draw from them back to a
# picture. Its loss is the squared error of the picture, and the nats that the 32 numbers carry.

# %%
from dreamgym.core.model import StageConfig
from dreamgym.models.vae_mdn_rnn import Config, VaeMdnRnn
from dreamgym.training import TrainConfig, fit

SIZES = {"hidden_dim": 128, "channels": (16, 32, 64, 128), "kl_weight": 0.2}
STAGES = {
    "vae": StageConfig(steps=V_STEPS, batch_size=64, sequence_length=0),
    "mdn_rnn": StageConfig(steps=M_STEPS, batch_size=32, sequence_length=32),
}
QUIET = TrainConfig(progress=False, tensorboard=False, strip_episodes=0, log_every=max(1, V_STEPS // 30))
torch.manual_seed(0)
model = VaeMdnRnn(Config(**SIZES), data.observation_space, data.action_space)
fit(model, data, OUT / "five", stages=STAGES, only=["vae"], config=QUIET)
print(f"{sum(p.numel() for p in model.vae.parameters()):,} weights see")

# %%
from dreamgym.training.log import read_log


def draw_losses(*logs):
    """Draw the terms of some losses, and what they are on held-out episodes."""
    _, panels = plt.subplots(1, len(logs[0][1]), figsize=(10, 2.6), layout="constrained")
    for axes, term in zip(panels, logs[0][1], strict=True):
        for path, _, label in logs:
            log = read_log(path)
            (line,) = axes.plot(log["step"], log[term], label=label)
            checks = [(s, v) for s, v in zip(log["step"], log[f"validation_{term}"], strict=True) if v is not None]
            axes.plot(*zip(*checks, strict=True), "o", color=line.get_color(), label=f"{label}, held out")
        axes.set(title=term, xlabel="step")
    panels[0].legend(frameon=False, fontsize=8)
    plt.show()


# %%
draw_losses((OUT / "five" / "logs" / "vae.csv", ["reconstruction", "kl"], "V"))

# %% [markdown]
# What V keeps: pictures above, what their 32 numbers draw below.

# %%
from dreamgym.core.codec import encode_obs

held_out = data.split(0.05)[1]
pictures = np.stack([episode.obs[len(episode) // 2] for episode in held_out[:10]])
with torch.no_grad():
    mean, log_variance = model.vae.encode(encode_obs(data.observation_space, pictures))
    drawn = model.vae.decode(mean).permute(0, 2, 3, 1).numpy()
_, grid = plt.subplots(2, len(pictures), figsize=(10, 2.2), layout="constrained")
for axes, picture in zip(grid.flat, [*pictures, *drawn], strict=True):
    axes.imshow(picture)
    axes.axis("off")
plt.show()

# %% [markdown]
# Positions are there, edges are not, and small things fade. That is enough to dodge with; the V that ships with the
# package learned seven times as long and has sharper ones.
#
# What the numbers mean: of one picture, one number at a time goes from -2 to 2, the five that carry most first.

# %%
with torch.no_grad():
    nats = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean(0)
    loudest = nats.argsort(descending=True)[:5]
    codes = mean[1:2].repeat(5 * 9, 1).unflatten(0, (5, 9))  # [5, 9, 32], of the second picture above
    for row, number in enumerate(loudest):
        codes[row, :, number] = torch.linspace(-2, 2, 9)
    pictures = model.vae.decode(codes.flatten(0, 1)).permute(0, 2, 3, 1).numpy()
_, grid = plt.subplots(5, 9, figsize=(8, 4.6), layout="constrained")
for axes, picture in zip(grid.flat, pictures, strict=True):
    axes.imshow(picture)
    axes.axis("off")
plt.show()

# %% [markdown]
# ## M remembers and predicts
#
# An LSTM reads the 32 numbers and the action, and says of each of the next 32 how it is distributed: a mixture of
# five Gaussians. Two more outputs tell the reward and whether it is over. The pictures are no longer needed.

# %%
fit(model, data, OUT / "five", stages=STAGES, only=["mdn_rnn"], config=QUIET)
weights = [*model.lstm.parameters(), *model.heads.parameters()]
print(f"{sum(p.numel() for p in weights):,} weights dream")
TERMS = ["latent", "reward", "termination"]
draw_losses((OUT / "five" / "logs" / "mdn_rnn.csv", TERMS, "five Gaussians"))

# %% [markdown]
# The nats of the next picture fall on held-out episodes too; endings do not any more: there are 800 of them, and M
# begins to know them by heart.
#
# Eyes closed: the first row really happened. The second is V's drawing of it. The third has seen the first five
# frames and dreams the rest from the actions alone.

# %%
from dreamgym.core.codec import encode_action
from dreamgym.core.strips import strip

longest = max(held_out, key=len)
seen = encode_obs(data.observation_space, longest.obs[:41])
done = encode_action(data.action_space, longest.action[:40])
plt.figure(figsize=(10, 2.2))
plt.imshow(strip(model, seen, done, columns=14))
plt.axis("off")
plt.show()

# %% [markdown]
# The ship goes where it went, since the actions are the same. What falls is another matter: nobody can know what will
# appear at the top, so the dream makes up its own.
#
# A dream is this model and real situations to begin in. Here is one of these, and four futures of it in which the
# ship does the same.

# %%
from dreamgym import DreamVectorEnv
from dreamgym.core.starts import make_start_bank
from dreamgym.hub import LoadedDream

CARD = {"id": "five Gaussians", "real": "Dodge-v0", "max_episode_steps": 300}
dream = LoadedDream(model, make_start_bank(model, data, num_states=2000), CARD)
env = DreamVectorEnv(dream)
env.reset(seed=3)
futures = env.fork(0, 4, seed=0)
frames = [futures.step(np.zeros(4, int))[0] for _ in range(24)]
_, grid = plt.subplots(4, 8, figsize=(8, 4.2), layout="constrained")
for axes, picture in zip(grid.T.flat, np.concatenate(frames[2::3]), strict=True):
    axes.imshow(picture)
    axes.axis("off")
plt.show()

# %% [markdown]
# ## C acts, by evolution
#
# The paper's controller is linear: features times a matrix. CMA-ES draws a population of matrices, lets each live the
# same dreams, and moves towards the better half.

# %%
from dreamgym.agents.evolution import evolve

began = time.process_time()
controller, history = evolve(dream, generations=GENERATIONS, population=32, rollouts=8, horizon=100, seed=0)
print(f"{controller.num_weights()} weights, {time.process_time() - began:.0f} s")
_, axes = plt.subplots()
axes.plot([row.best for row in history], label="best of a generation")
axes.plot([row.mean for row in history], label="mean")
axes.set(xlabel="generation", ylabel="dreamed return of 100 steps")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# The teeth of the saw are luck: each generation lives other dreams. A trend would need more of them, and more
# patience; the paper took 1,800 generations of 64 candidates, 16 episodes each, for CarRacing.
#
# ## C acts, by PPO
#
# The same dreams for a learner that is told after each step how it went. Its policy is a small perceptron.

# %%
from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import PPOConfig, train_ppo


def learn_in(dream):
    """Return a policy that PPO found in a dream, its curve, and what it was at four moments before."""
    kept, due = {}, np.geomspace(DECISIONS / 16, DECISIONS, 5)[:-1]

    def keep(algorithm, row):
        if len(kept) < len(due) and row.decisions >= due[len(kept)]:
            kept[row.decisions] = export_policy(algorithm, dream)

    options = {"lanes": LANES, "horizon": 100, "seed": 0, "config": PPOConfig(gamma=0.97, entropy=0.005)}
    algorithm, curve = train_ppo(dream, decisions=DECISIONS, progress=keep, **options)
    return export_policy(algorithm, dream), curve, kept


# %%
began = time.process_time()
policies, curves, snapshots = {}, {}, {}
policies["five"], curves["five"], snapshots["five"] = learn_in(dream)
print(f"{policies['five'].num_weights():,} weights, {time.process_time() - began:.0f} s")
_, axes = plt.subplots()
axes.plot([row.decisions for row in curves["five"]], [row.episode_length for row in curves["five"]])
axes.set(xlabel="dreamed decisions", ylabel="steps survived, of at most 100")
plt.show()

# %% [markdown]
# Ten seconds of learning, and it is still rising. It is cut short here; the exercises go on.
#
# ## First failure: a dream that cannot branch
#
# Take the same V and an M with one Gaussian instead of five. Nothing else changes.

# %%
torch.manual_seed(0)
single = VaeMdnRnn(Config(**SIZES, num_mixtures=1), data.observation_space, data.action_space)
single.vae.load_state_dict(model.vae.state_dict())
fit(single, data, OUT / "one", stages=STAGES, only=["mdn_rnn"], config=QUIET)
draw_losses(
    (OUT / "five" / "logs" / "mdn_rnn.csv", TERMS, "five Gaussians"),
    (OUT / "one" / "logs" / "mdn_rnn.csv", TERMS, "one Gaussian"),
)

# %% [markdown]
# It costs a little on paper: some 0.05 nats for each of the 32 numbers. Now a moment in which the world must branch:
# a diamond with both horns, just before it tosses its coin. Look for its pink in the recordings.


# %%
def pink(picture):
    """Return how many pixels of the rows in which a diamond is about to branch are pink."""
    red, green, blue = picture[12:19].astype(int).transpose(2, 0, 1)
    return int(((red > 200) & (blue > 150) & (green < 200)).sum())


def find_branching():
    """Return a held-out episode with a diamond about to branch, and when."""
    for episode in held_out:
        for t in range(5, len(episode) - 8):
            if pink(episode.obs[t]) > 25 and episode.obs[t][:12].max() < 120:
                return episode, t
    return held_out[0], min(5, len(held_out[0]) - 1)


# %%
from dreamgym.core.starts import observe_moments
from dreamgym.core.tree import gather


@torch.no_grad()
def dream_on(model, episode, t, steps=7, draws=64):
    """Return `[draws, 64, 64, 3]` pictures of what may be, some steps after moment t; the ship stays where it is."""
    (state,) = observe_moments(model, [episode], [np.array([t])])
    state = gather(state, torch.zeros(draws, dtype=torch.int64))
    stay = encode_action(model.action_space, np.zeros(draws, int))
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        state = model.step(state, stay, torch.randn(draws, model.noise_dim, generator=generator)).state
    return model.decode(state).permute(0, 2, 3, 1).numpy()


# %%
episode, t = find_branching()
_, grid = plt.subplots(2, 10, figsize=(11, 2.5), layout="constrained")
for row, (name, world) in zip(grid, {"five": model, "one": single}.items(), strict=True):
    found = dream_on(world, episode, t)
    for axes, picture in zip(row, [episode.obs[t], *found[:8], found.mean(0)], strict=True):
        axes.imshow(picture)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
grid[0][0].set_title("now")
grid[0][4].set_title("seven steps later, eight dreams")
grid[0][9].set_title("mean of 64")
plt.show()

# %% [markdown]
# With five Gaussians the diamond is on the left in one dream and on the right in another. With one it is a smear that
# is on both sides at once, or a shade on neither: a Gaussian can say "more or less there", but not "either here or
# there". Nobody learns to dodge what is everywhere a little. PPO does not mind: it learns in whatever it is given.

# %%
dreams = {"five": dream, "one": LoadedDream(single, make_start_bank(single, data, num_states=2000), CARD)}
policies["one"], curves["one"], snapshots["one"] = learn_in(dreams["one"])

# %% [markdown]
# ## Second failure: a dream that is too sure of itself
#
# A dream has a temperature. At 1 it draws what M predicts; towards 0 only the likeliest happens; above 1 it is wilder
# than it was learned. Train in a cold one and in a hot one.

# %%
from dreamgym.envs.open import open_dream

for name, temperature in {"cold": 0.1, "hot": 1.3}.items():
    dreams[name] = open_dream(dream, None, [("temperature", {"temperature": temperature})], "cpu")
    policies[name], curves[name], snapshots[name] = learn_in(dreams[name])
_, axes = plt.subplots()
for name, curve in curves.items():
    axes.plot([row.decisions for row in curve], [row.episode_length for row in curve], label=name)
axes.set(xlabel="dreamed decisions", ylabel="steps survived, of at most 100")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# All of them learn. The one in the cold dream learns fastest, and says that it lives longest.
#
# ## Reality
#
# The real Dodge, for the first time since the random play, with fresh seeds. Each policy sees the real pictures
# through the V and M that it grew up with.

# %%
import dreamgym

scores = {"random": dreamgym.evaluate(dream, "random", episodes=SCORED, seed=FRESH)}
scores["evolved"] = dreamgym.evaluate(dream, controller, episodes=SCORED, seed=FRESH)
for name, policy in policies.items():
    scores[name] = dreamgym.evaluate(dreams[name], policy, episodes=SCORED, seed=FRESH)
for name, score in scores.items():
    promised, real = score["dream"], score["real"]
    error = real["std"] / SCORED**0.5
    print(f"{name:8} dream {promised['mean']:4.0f}, real {real['mean']:4.0f} +- {error:2.0f}, worst {real['min']:3.0f}")

# %%
_, axes = plt.subplots(figsize=(8, 3), layout="constrained")
for number, (side, colour) in enumerate({"dream": "C1", "real": "C0"}.items()):
    at = np.arange(len(scores)) + 0.4 * number
    means = [score[side]["mean"] for score in scores.values()]
    errors = [score[side]["std"] / SCORED**0.5 for score in scores.values()]
    axes.bar(at, means, 0.38, yerr=errors, color=colour, label=side)
axes.set_xticks(np.arange(len(scores)) + 0.2, list(scores))
axes.set(ylabel="steps survived, of at most 300")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# - **Five Gaussians**: PPO more than doubles what random play survives, in a world that it had never seen.
# - **One**: less. With twenty episodes each the difference between the two is hardly larger than its error; the
#   picture of the diamond says more about it than the bars do.
# - **Cold**: promised 231, kept 34, which is what random play earns. In a dream in which only the likeliest happens,
#   nothing unexpected ever falls on you; the policy has learned to rely on that.
# - **Hot**: promises least of the four. It is the paper's cure; here it did not beat temperature 1, perhaps because
#   it also makes learning harder, and learning was short.
# - **Evolved**: a linear controller and twenty generations were not enough. It promised twice what it kept.
#
# Even random play lives longer in the dream than in reality, 48 steps against 31: M misses some hits. So look at
# dream and reality while PPO learns, in the dream as it was learned and in the cold one.

# %%
_, panels = plt.subplots(1, 2, figsize=(10, 3), sharey=True, layout="constrained")
for axes, name in zip(panels, ("five", "cold"), strict=True):
    rows = {n: dreamgym.evaluate(dreams[name], p, episodes=SCORED // 2, seed=FRESH) for n, p in snapshots[name].items()}
    rows[DECISIONS] = scores[name]
    for side, colour in {"dream": "C1", "real": "C0"}.items():
        axes.semilogx(list(rows), [row[side]["mean"] for row in rows.values()], "o-", color=colour, label=side)
    axes.set(title=name, xlabel="dreamed decisions")
panels[0].set(ylabel="steps survived")
panels[0].legend(frameon=False)
plt.show()

# %% [markdown]
# On the left the two rise together. On the right they part almost at once, and the longer PPO learns, the further:
# that is an agent that exploits its dream. Nothing inside of the dream tells. Temperature 1 would have been the cure,
# and so is the next one.
#
# ## The other cure: doubt
#
# M has no second opinion. An ensemble has five, and where its members disagree it does not know what it says. Dodge
# stays behind here; the pole on a cart takes seconds. From 250 steps of random play five perceptrons learn everything
# about it, endings too.

# %%
from dreamgym.core.filter import observe_real
from dreamgym.models import mlp_ensemble

collect("CartPole-v1", OUT / "poles", steps=POLES, driver="random", progress=False)
poles = Dataset(OUT / "poles")
torch.manual_seed(0)
sizes = mlp_ensemble.Config(num_members=5, hidden_dim=64, layers=2)
ensemble = mlp_ensemble.MlpEnsemble(sizes, poles.observation_space, poles.action_space)
stages = {"ensemble": StageConfig(steps=1000, batch_size=128, sequence_length=1)}
fit(ensemble, poles, OUT / "ensemble", stages=stages, config=QUIET)
obs, acts = (np.concatenate([getattr(e, part)[: len(e)] for e in poles]) for part in ("obs", "action"))
with torch.no_grad():
    luck = torch.zeros(len(acts), ensemble.noise_dim)
    known = ensemble.step(observe_real(ensemble, None, list(obs)), encode_action(poles.action_space, acts), luck)
print(f"the members disagree by {known.info['disagreement'].max():.3f} at most on what was recorded")

# %% [markdown]
# PPO learns in three dreams of it: as it is; paid less by what the members disagree about; and ended where they
# disagree more than about anything that was recorded. All are judged by the first dream, and by reality.

# %%
card = {"id": "poles", "real": "CartPole-v1", "max_episode_steps": 500}
pole = LoadedDream(ensemble, make_start_bank(ensemble, poles, num_states=500), card)
cures = {
    "as it is": [],
    "doubt costs": [("penalize_disagreement", {"weight": 1.0})],
    "doubt ends": [("terminate_on_disagreement", {"threshold": float(known.info["disagreement"].max())})],
}
balanced, how = {}, {"lanes": 64, "horizon": 500, "config": PPOConfig(gamma=0.99, minibatch=512, epochs=5)}
for name, wrap in cures.items():
    algorithm, _ = train_ppo(pole, decisions=POLE_DECISIONS, wrap=wrap, **how)
    balanced[name] = dreamgym.evaluate(pole, export_policy(algorithm, pole), episodes=SCORED, seed=FRESH)

# %%
_, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for number, (side, colour) in enumerate({"dream": "C1", "real": "C0"}.items()):
    means = [score[side]["mean"] for score in balanced.values()]
    errors = [score[side]["std"] / SCORED**0.5 for score in balanced.values()]
    axes.bar(np.arange(len(balanced)) + 0.4 * number, means, 0.38, yerr=errors, color=colour, label=side)
axes.set_xticks(np.arange(len(balanced)) + 0.2, list(balanced))
axes.set(ylabel="steps balanced, of at most 500")
axes.legend(frameon=False)
plt.show()
for name, score in balanced.items():
    print(f"{name:12} dream {score['dream']['mean']:4.0f}, real {score['real']['mean']:4.0f}")
print(f"{(time.process_time() - STARTED) / 60:.1f} minutes of processor time")

# %% [markdown]
# From the same 250 steps: the dream as it is promised 317 and kept 73. Where doubt costs, or ends the dream, PPO has
# no use for the places that only the dream believes in; it balances in the middle, where the data are, and does so in
# reality too. It even scores higher in the dream as it is than the policy that was trained there.
#
# Mind the figures' smallness: one training each. In a trial with 1,000 recorded steps and twice the decisions there
# was nothing to cure, and all three kept 500 of 500: more data are the best cure.
#
# ## Exercises
#
# 1. Let the policies see `z` alone: `Config(**SIZES, features="z")`. Whose real score changes more, the linear
#    controller's or the perceptron's?
# 2. Record a second round: `collect(..., driver="policy")` with `dreamgym.evaluation.driver.PolicyDriver` as the
#    driver and the policy that PPO found. Train M on both and C anew. How much is a round worth?
# 3. Set `POLES = 1000`. Do the three policies still differ? And what does a threshold a tenth as high do?
