"""Dreamer beside Stable-Baselines3's PPO and SAC or DQN in the same real environments: score over real steps.

    python benchmarks/dreamer_curves.py --envs CartPole-v1 Pendulum-v1 --seeds 0 1 2 --out runs/curves

HalfCheetah-v5 needs `pip install mujoco`. Takes about half an hour for each run of Dreamer with vectors on one free
core. Started again, it goes on where it was stopped. Writes curves.csv and curves.png, and prints the real steps that
each needed to a score that it held, and their ratio.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

import dreamgym  # noqa: F401
from dreamgym.cli.dreamer import default_model
from dreamgym.core.spaces import is_image
from dreamgym.online import OnlineConfig, train_online
from dreamgym.training.log import read_log

SCORES = {"CartPole-v1": 450.0, "Pendulum-v1": -250.0, "Dodge-v0": 45.0, "HalfCheetah-v5": 1000.0, "Hopper-v5": 500.0}
"""What has to be reached, unless --score says otherwise; Dodge's is half as much again as random actions earn."""
WORLDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # the model's fields, the run's
    "Dodge-v0": (
        {
            "channels": (8, 16, 32, 64),
            "deter_dim": 192,
            "hidden_dim": 192,
            "ending": "memory",
            "bright_weight": 6.0,
            "continue_weight": 10.0,
            "dynamics_free_nats": 0.0,
        },
        {"steps": 10_000, "train_ratio": 160.0, "prefill": 1000, "eval_episodes": 20},
    ),
    "HalfCheetah-v5": (
        {"deter_dim": 256, "hidden_dim": 256},
        {"steps": 20_000, "prefill": 2000, "eval_episodes": 2, "eval_every": 2000},
    ),
}
"""Where Dreamer differs from `dreamgym dreamer --env ID`: found with training seed 7."""
ZOO: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {  # (envs, options), after the RL Baselines3 Zoo
    ("CartPole-v1", "ppo"): (8, {"n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20,
                                 "learning_rate": 1e-3}),
    ("CartPole-v1", "dqn"): (1, {"learning_rate": 2.3e-3, "batch_size": 64, "learning_starts": 1000,
                                 "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128,
                                 "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
                                 "policy_kwargs": {"net_arch": [256, 256]}}),
    ("Pendulum-v1", "ppo"): (4, {"n_steps": 1024, "gamma": 0.9, "learning_rate": 1e-3, "use_sde": True,
                                 "sde_sample_freq": 4}),
    ("Pendulum-v1", "sac"): (1, {"learning_rate": 1e-3}),
    ("Dodge-v0", "ppo"): (8, {"n_steps": 128, "batch_size": 256, "n_epochs": 4, "ent_coef": 0.01,
                              "learning_rate": 2.5e-4, "gamma": 0.97}),
    ("Dodge-v0", "dqn"): (1, {"learning_rate": 1e-4, "buffer_size": 50_000, "learning_starts": 1000, "gamma": 0.97,
                              "target_update_interval": 1000, "exploration_final_eps": 0.02}),
}  # fmt: skip
ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "sac": SAC, "dqn": DQN}
COLOURS = {"dreamer": "#c44e52", "ppo": "#4c72b0", "sac": "#55a868", "dqn": "#55a868"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Dreamer beside Stable-Baselines3, in real steps."""

    envs: tuple[str, ...] = ("CartPole-v1", "Pendulum-v1", "Dodge-v0")
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of training."""
    out: Path = Path("runs/curves")
    score: float | None = None
    """To be reached in every env; by default each env's own."""
    held: int = 3
    """Evaluations in a row that must reach the score: one alone may be luck that the next update takes back."""
    baseline_factor: int = 10
    """Most real steps of a baseline, in those of Dreamer: past Dreamer's it goes on only until it reaches the score."""
    baselines: bool = True
    run: OnlineConfig = field(default_factory=OnlineConfig)
    """Of Dreamer; the baselines are evaluated as often, on the same seeds."""

    def run_of(self, env: str) -> OnlineConfig:
        """Return how Dreamer runs in an env, and how often everyone is evaluated there."""
        return replace(self.run, **WORLDS.get(env, ({}, {}))[1])

    def score_of(self, env: str) -> float:
        """Return what has to be reached in an env."""
        return SCORES[env] if self.score is None else self.score


Curve = list[tuple[int, float]]
"""Real steps and the mean return of the evaluation after them."""


class Evaluation(BaseCallback):
    """Scores the deterministic policy on fixed seeds; ends the training where there is nothing left to compare."""

    def __init__(self, env: str, options: Options) -> None:
        super().__init__()
        self.env, self.options, self.run, self.curve = gym.make(env), options, options.run_of(env), Curve()
        self.score = options.score_of(env)

    def _on_step(self) -> bool:
        before, every = self.curve[-1][0] if self.curve else 0, self.run.eval_every
        if self.num_timesteps // every > before // every:
            returns = [self._play(i) for i in range(self.run.eval_episodes)]
            self.curve.append((self.num_timesteps, float(np.mean(returns))))
        held = steps_to(self.curve, self.score, self.options.held) < float("inf")
        return self.num_timesteps < self.run.steps or not held

    def _play(self, i: int) -> float:
        obs, _ = self.env.reset(seed=self.run.eval_seed + i)
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = self.env.step(self.model.predict(obs, deterministic=True)[0])
            total, over = total + float(reward), terminated or truncated
        return total


def dreamer(env: str, seed: int, options: Options) -> Curve:
    """Return the curve of a Dreamer, whose run is kept beside it."""
    out = options.out / env / f"dreamer-{seed}"
    world, _ = WORLDS.get(env, ({}, {}))
    model, run = replace(default_model("rssm", env), **world), replace(options.run_of(env), seed=seed)
    train_online(env, out, model=model, config=run)
    log = read_log(out / "training" / "logs" / "online.csv")
    return [(int(step), mean) for step, mean in zip(log["step"], log["evaluation"], strict=True) if mean is not None]


def baseline(name: str, env: str, seed: int, options: Options) -> Curve:
    """Return the curve of one of SB3's algorithms."""
    num_envs, settings = ZOO.get((env, name), (1, {}))
    envs = make_vec_env(env, num_envs, seed=seed)
    policy = "CnnPolicy" if is_image(envs.observation_space) else "MlpPolicy"
    callback = Evaluation(env, options)
    algorithm = ALGORITHMS[name](policy, envs, seed=seed, device="cpu", **settings)
    algorithm.learn(options.run_of(env).steps * options.baseline_factor, callback=callback)
    return callback.curve


def kept(path: Path, make: Any) -> Curve:
    """Return the curve in a file, or make and write it."""
    if not path.exists():
        curve = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([("steps", "return"), *curve])
    with open(path, newline="") as file:
        return [(int(steps), float(mean)) for steps, mean in list(csv.reader(file))[1:]]


def steps_to(curve: Curve, score: float, held: int) -> float:
    """Return the real steps of the first of so many evaluations in a row that reach a score; infinity if there is none.

    >>> steps_to([(1, 9.0), (2, 3.0), (3, 8.0), (4, 9.0)], 8.0, 2)
    3
    """
    reached = [mean >= score for _, mean in curve]
    return next((curve[i][0] for i in range(len(curve) - held + 1) if all(reached[i : i + held])), float("inf"))


def tell(name: str, curves: Sequence[Curve], score: float, held: int) -> float:
    """Print and return the median of the real steps that the seeds needed."""
    needed = [steps_to(curve, score, held) for curve in curves]
    tested = max(curve[-1][0] for curve in curves)
    words = ", ".join(f"{n:,.0f}" if n < float("inf") else f"> {tested:,}" for n in needed)
    best = ", ".join(f"{max(mean for _, mean in curve):.0f}" for curve in curves)
    print(f"  {name:8} real steps to {score:g}: {words}; best evaluation: {best}", flush=True)
    return float(np.median(needed))


def draw(found: dict[str, dict[str, list[Curve]]], path: Path) -> None:
    """Draw each env's curves, one line a seed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    columns = len(found) if len(found) <= 3 else 2
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), dpi=150, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (env, by_name) in zip(places, found.items(), strict=False):
        for name, curves in by_name.items():
            for i, curve in enumerate(curves):
                steps, means = zip(*curve, strict=True)
                axes.plot(steps, means, color=COLOURS[name], linewidth=1.5, alpha=0.7, label=None if i else name)
        axes.set_title(env, loc="left")
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("real steps")
        axes.set_ylabel("return of an evaluation, one line a seed")
        axes.grid(color="#e5e5e5")
        axes.legend(frameon=False)
    figure.savefig(path)


def main(options: Options) -> None:
    """Run what is missing, and print and draw everything."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[Curve]]] = {}
    for env in options.envs:
        discrete = isinstance(gym.make(env).action_space, gym.spaces.Discrete)
        names = ["dreamer", "ppo", "dqn" if discrete else "sac"] if options.baselines else ["dreamer"]
        score = options.score_of(env)
        print(env)
        needed: dict[str, float] = {}
        for name in names:
            curves = []
            for seed in options.seeds:
                learn = dreamer if name == "dreamer" else partial(baseline, name)
                curves.append(kept(options.out / env / f"{name}-{seed}.csv", partial(learn, env, seed, options)))
            found.setdefault(env, {})[name] = curves
            needed[name] = tell(name, curves, score, options.held)
        if len(needed) > 1:
            best = min(steps for name, steps in needed.items() if name != "dreamer")
            more = ""
            if best == float("inf"):  # then the ratio is at least that of what was tried
                more, best = "> ", float(options.run_of(env).steps * options.baseline_factor)
            ratio = best / needed["dreamer"]
            print(
                f"  best baseline / dreamer, medians: {f'{more}{ratio:.1f}' if ratio else 'dreamer did not reach it'}"
            )
    with open(options.out / "curves.csv", "w", newline="") as file:
        rows = [
            (env, name, seed, steps, mean)
            for env, by_name in found.items()
            for name, curves in by_name.items()
            for seed, curve in zip(options.seeds, curves, strict=True)
            for steps, mean in curve
        ]
        csv.writer(file).writerows([("env", "algorithm", "seed", "steps", "return"), *rows])
    draw(found, options.out / "curves.png")


if __name__ == "__main__":
    main(tyro.cli(Options, config=(tyro.conf.FlagCreatePairsOff,)))
