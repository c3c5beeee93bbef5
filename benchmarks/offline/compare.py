"""SAC in a dream of logs, with and without a price for disagreement, beside cloning them: real scores, normalised.

    python benchmarks/offline/compare.py --env Pendulum-v1 --out runs/offline
    python benchmarks/offline/compare.py --env Hopper-v5 --kinds replay --out runs/offline

After make_datasets.py. Pendulum took about 20 minutes of a busy core, Hopper's replay 35.
Started again, it goes on where it was stopped. Scores are D4RL's: 100 is SAC's best policy in the real env, 0 are
random actions. The price of disagreement is the one of the recipe's `weights` whose policy of `TUNING_SEED` scores best
on the replay dataset, on real episodes other than the reported ones; it is then kept for all datasets. Writes
compare.csv and compare.png to the env's folder, and prints the table.
"""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from make_datasets import KINDS, dataset_id, use_minari
from stable_baselines3 import SAC

import dreamgym
from dreamgym.bridges.sb3 import DreamVecEnv, export_policy
from dreamgym.cli.train import TRAINING, train
from dreamgym.core.codec import encode_obs
from dreamgym.core.policy import Policy, save_policy
from dreamgym.data.episodes import Dataset
from dreamgym.data.minari import find_data
from dreamgym.hub import LoadedDream, load, load_policy

METHODS = ("cloning", "dream", "penalised")
TUNING_SEED = 10
"""Of the world model and the policies that choose the weight; the reported seeds are others."""
TUNING_EPISODES, REPORTED_EPISODES = 400_000, 500_000
"""First seeds of real episodes."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a world and its policies are trained."""

    termination: str
    """The known ending, as MOPO and MOReL know it; the reward is learned."""
    world_width: int
    world_steps: int
    horizon: int
    """Decisions after which a dream begins anew, in a recorded situation."""
    updates: int
    """Of SAC, and of cloning."""
    weights: tuple[float, ...]
    """Prices of disagreement, of which one is chosen; in reward for each standard deviation of the recorded changes."""
    sac: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "Pendulum-v1": Recipe(
        termination="never",
        world_width=64,
        world_steps=3000,
        horizon=20,
        updates=4000,
        weights=(3.0, 30.0, 300.0),
        sac={"learning_rate": 1e-3, "policy_kwargs": {"net_arch": [64, 64]}},
    ),
    "Hopper-v5": Recipe(
        termination="hopper",
        world_width=200,
        world_steps=6000,
        horizon=10,
        updates=15_000,
        weights=(1.0, 5.0, 20.0),
        sac={"policy_kwargs": {"net_arch": [128, 128]}},
    ),
}
LANES, UPDATES_A_STEP = 32, 4
"""Dreams at once, and SAC's updates while each of them takes a step."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Policies from logs alone."""

    env: str = "Pendulum-v1"
    """One of RECIPES."""
    out: Path = Path("runs/offline")
    """What make_datasets.py was given."""
    kinds: tuple[str, ...] = KINDS
    """Datasets: random, medium, replay."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the world model and the policies."""
    episodes: int = 30
    """Real and dreamed episodes that score a policy."""
    horizon: int | None = None
    """Decisions after which a dream begins anew, if not the recipe's: long dreams are where policies exploit them. Its
    rows and picture have files of their own."""
    weight: float | None = None
    """The price of disagreement; by default it is chosen."""


class Comparison:
    """What one env's policies score; every row and every file is made once."""

    def __init__(self, options: Options) -> None:
        self.options, self.recipe = options, RECIPES[options.env]
        self.suffix = ""
        if options.horizon is not None:
            self.recipe, self.suffix = replace(self.recipe, horizon=options.horizon), f"-{options.horizon}"
        self.folder = options.out / options.env
        references = json.loads((self.folder / "references.json").read_text())
        self.low, self.high = references["random"], references["expert"]
        self.file = self.folder / f"compare{self.suffix}.csv"

    def score(self, mean: float) -> float:
        """Return the normalised score of a return. Source: Fu et al. 2020 (D4RL), section 4."""
        return 100 * (mean - self.low) / (self.high - self.low)

    def rows(self) -> list[dict[str, str]]:
        """Return what has been measured."""
        if not self.file.exists():
            return []
        with self.file.open(newline="") as file:
            return list(csv.DictReader(file))

    def dream(self, kind: str, seed: int) -> LoadedDream:
        """Return the dream of a dataset."""
        folder = self.folder / "dreams" / f"{kind}-{seed}"
        if not (folder / "card.toml").exists():
            data = f"minari:{dataset_id(self.options.env, kind)}"
            train([
                "--data", data, "--out", str(folder), "--model", "mlp_ensemble",
                "--model.hidden-dim", str(self.recipe.world_width),
                "--model.termination", self.recipe.termination, "--ensemble.steps", str(self.recipe.world_steps),
                "--seed", str(seed), "--no-tensorboard",
            ])  # fmt: skip
        return load(folder)

    def dataset(self, kind: str, seed: int) -> Dataset:
        """Return what a dream was learned from."""
        copies = self.folder / "dreams" / f"{kind}-{seed}" / TRAINING / "minari"
        return Dataset(find_data(f"minari:{dataset_id(self.options.env, kind)}", copies))

    def policy(self, kind: str, method: str, seed: int, weight: float) -> Policy:
        """Return what a method makes of a dataset."""
        dream, name = self.dream(kind, seed), method if method != "penalised" else f"penalised-{weight:g}"
        path = self.folder / "policies" / f"{kind}-{seed}-{name}{self.suffix}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            wrap = [("penalize_disagreement", {"weight": weight})] if method == "penalised" else []
            envs = DreamVecEnv(dream, LANES, wrap=wrap, max_episode_steps=self.recipe.horizon)
            frequency = {"train_freq": 1, "gradient_steps": UPDATES_A_STEP, "learning_starts": 1000}
            sac = SAC("MlpPolicy", envs, seed=seed, device="cpu", **frequency, **self.recipe.sac)
            if method == "cloning":
                clone(sac, dream, self.dataset(kind, seed), self.recipe.updates)
            else:
                sac.learn(self.recipe.updates // UPDATES_A_STEP * LANES + 1000)
            save_policy(export_policy(sac, dream), path)
        return load_policy(path, dream)

    def measure(self, kind: str, method: str, seed: int, weight: float = 0.0, first: int = REPORTED_EPISODES) -> float:
        """Return the real score of a policy, and write its row."""
        key = {"data": kind, "method": method, "seed": seed, "weight": weight, "first_episode": first}
        for row in self.rows():
            if all(row[name] == str(value) for name, value in key.items()):
                return float(row["real_score"])
        began = time.monotonic()
        policy = self.policy(kind, method, seed, weight)
        seconds = time.monotonic() - began
        found = dreamgym.evaluate(self.dream(kind, seed), policy, episodes=self.options.episodes, seed=first)
        row = {**key, "episodes": self.options.episodes, "seconds": round(seconds, 1)}
        for side, figures in found.items():
            row |= {f"{side}_{name}": round(figures[name], 2) for name in ("mean", "std", "min")}
            row[f"{side}_score"] = round(self.score(figures["mean"]), 2)
        new = not self.file.exists()
        with self.file.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(
            f"{kind} {method} {weight:g} seed {seed}: real {row['real_score']}, dream {row['dream_score']}", flush=True
        )
        return float(row["real_score"])

    def choose_weight(self) -> float:
        """Return the price of disagreement that scores best on the replay dataset with the tuning seed."""
        scores = {
            weight: self.measure("replay", "penalised", TUNING_SEED, weight, TUNING_EPISODES)
            for weight in self.recipe.weights
        }
        return max(scores, key=lambda weight: scores[weight])


def clone(sac: SAC, dream: LoadedDream, dataset: Dataset, updates: int) -> None:
    """Regress SAC's actor on the recorded actions: behaviour cloning with the network that dreams are played with."""
    model, space = dream.model, dream.model.action_space
    obs = np.concatenate([episode.obs[:-1] for episode in dataset])
    actions = np.concatenate([episode.action for episode in dataset])
    with torch.no_grad():
        first, idle = torch.ones(len(obs), dtype=torch.bool), torch.zeros(len(obs), *(space.shape or ()))
        state = model.observe(model.initial(len(obs)), idle, encode_obs(model.observation_space, obs), first)
        features = model.features(state)
    actor: Any = sac.policy.actor
    target = torch.from_numpy(sac.policy.scale_action(actions)).float()
    optimizer = torch.optim.Adam(actor.parameters(), lr=1e-3)
    for _ in range(updates):
        rows = torch.randint(len(features), (256,))
        loss = torch.nn.functional.mse_loss(actor(features[rows], deterministic=True), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main(options: Options) -> None:
    """Choose the weight, measure every policy, print and draw."""
    torch.set_num_threads(1)
    use_minari(options.out)
    comparison = Comparison(options)
    weight = options.weight
    if weight is None:
        weight = comparison.choose_weight()
        print(f"weight {weight:g} of {comparison.recipe.weights}, chosen with seed {TUNING_SEED} on replay", flush=True)
    scores: dict[str, dict[str, list[float]]] = {}
    for kind in options.kinds:
        scores[kind] = {"data": [comparison.score(float(comparison.dataset(kind, options.seeds[0]).returns.mean()))]}
        for method in METHODS:
            price = weight if method == "penalised" else 0.0
            scores[kind][method] = [comparison.measure(kind, method, seed, price) for seed in options.seeds]
    rows = [row for row in comparison.rows() if int(row["first_episode"]) == REPORTED_EPISODES]
    print("| data | method | real score, mean of the seeds | each seed | score in the dream |")
    print("| --- | --- | --- | --- | --- |")
    for kind, found in scores.items():
        for method, each in found.items():
            dreamed = [float(r["dream_score"]) for r in rows if (r["data"], r["method"]) == (kind, method)]
            words = ", ".join(f"{score:.0f}" for score in each) if method != "data" else ""
            print(f"| {kind} | {method} | {np.mean(each):.1f} | {words} | {np.mean(dreamed):.1f} |" if dreamed else
                  f"| {kind} | {method} | {np.mean(each):.1f} | | |")  # fmt: skip
        penalised, data, cloned = (np.mean(found[name]) for name in ("penalised", "data", "cloning"))
        ratio = f"{penalised / data:.2f} times the data's mean, " if data > 0 else ""
        print(f"{kind}: penalised is {ratio}{penalised - cloned:+.1f} from cloning", flush=True)
    draw(scores, rows, options.env, comparison.folder / f"compare{comparison.suffix}.png")


COLOURS = {"data": "#8c8c8c", "cloning": "#55a868", "dream": "#dd8452", "penalised": "#4c72b0"}


def draw(scores: dict[str, dict[str, list[float]]], rows: list[dict[str, str]], env: str, out: Path) -> None:
    """Draw real scores, a dot a seed; and beside them what a policy scores in the dream over what it scores really."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    bars, points = figure.subplots(1, 2, width_ratios=(3, 2))
    for place, (method, colour) in enumerate(COLOURS.items()):
        for group, (kind, found) in enumerate(scores.items()):
            x = group + 0.2 * (place - 1.5)
            bars.bar(x, np.mean(found[method]), 0.18, color=colour, alpha=0.5, label=method if group == 0 else None)
            if method != "data":
                bars.plot([x] * len(found[method]), found[method], "o", color=colour, markersize=4)
                pairs = [(float(r["real_score"]), float(r["dream_score"])) for r in rows
                         if (r["data"], r["method"]) == (kind, method)]  # fmt: skip
                points.plot(*zip(*pairs, strict=True), "os^"[group], color=colour, markersize=6,
                            label=f"{method}, {kind}")  # fmt: skip
    bars.set_xticks(range(len(scores)), list(scores))
    bars.set_ylabel("normalised real score")
    bars.set_title(f"{env}, from logs alone; a dot a seed", loc="left", fontsize=11)
    bars.axhline(0, color="black", linewidth=0.8)
    low, high = points.get_xlim()
    points.plot([low, high], [low, high], "--", color="black", linewidth=1)
    points.set_xlabel("real score")
    points.set_ylabel("score in the dream")
    points.set_title("above the line the dream promises too much", loc="left", fontsize=11)
    for axes in (bars, points):
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    bars.legend(frameon=False)
    points.legend(frameon=False, fontsize=7)
    figure.savefig(out)


if __name__ == "__main__":
    main(tyro.cli(Options))
