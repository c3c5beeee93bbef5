"""Dyna-Q and Dyna-Q+ on Gymnasium's CliffWalking, FrozenLake and Taxi: what planning steps are worth in real steps.

    python benchmarks/dyna_worlds.py --runs 20 --out docs/pictures/dyna_worlds.png

About a quarter of an hour on one free core; started again, it goes on where it was stopped. Prints, over all runs, mean
and standard error of the real steps after which the greedy policy first reached a score and held it for three
measurements (of those runs that did), and of its return at the end of a life. Nothing is sampled in a measurement: the
worlds' own tables of probabilities give the expected return.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from tqdm import tqdm

import dreamgym  # noqa: F401
from dreamgym.agents.dyna import Dyna, DynaConfig
from dreamgym.models.tabular import Config, Tabular

HELD = 3
"""Measurements in a row that must reach the score."""
KAPPA = 1e-4
"""Of Dyna-Q+."""
LONGER = 10
"""Lives of Q-learning, which computes little, in those of the others."""
LIMIT = 200
"""Steps of an episode that is measured in a world that has no time limit of its own."""


@dataclass(frozen=True)
class World:
    """A world of Gymnasium's, and how long agents live in it."""

    env: str
    score: float
    """Expected return of the greedy policy that has to be reached."""
    steps: int
    """Real steps of a life with planning."""
    every: int
    """Real steps between measurements."""
    config: DynaConfig
    """Of all agents, but for what `AGENTS` says."""
    lowest: float
    """Bottom of the plot."""


# the best are -13, 0.744 (within 100 steps) and 7.93; Gymnasium's own thresholds of the last two are 0.7 and 8; epsilon
# is 0.1; the step size is 1 where nothing is left to chance; choices were made on seeds from 100
WORLDS = (
    World("CliffWalking-v1", -13.0, 1500, 25, DynaConfig(step_size=1.0), lowest=-150),
    World("FrozenLake-v1", 0.7, 5000, 50, DynaConfig(gamma=0.99), lowest=0),
    World("Taxi-v4", 7.0, 15_000, 250, DynaConfig(step_size=1.0), lowest=-300),
)
AGENTS = {"Q-learning": (0, 0.0), "Dyna-Q, 5": (5, 0.0), "Dyna-Q, 50": (50, 0.0), "Dyna-Q+, 5": (5, KAPPA),
          "Dyna-Q+, 50": (50, KAPPA)}  # fmt: skip
"""Planning steps and kappa; the bonus is planning's, so that without planning there is none."""
COLOURS = ("#8c8c8c", "#9db7dc", "#2f5597", "#f0b491", "#c55a11")


class Table:
    """A world's probabilities, which give the expected return of a policy exactly.

    Args:
        env: one that has its table, `P`, and the chances of its first states.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        world: Any = env.unwrapped
        rows = [
            (state, action, *outcome)
            for state, actions in world.P.items()
            for action, outcomes in actions.items()
            for outcome in outcomes
        ]
        state, action, self.chance, after, self.reward, ended = (np.array(column) for column in zip(*rows, strict=True))
        self.pair, self.after, self.goes_on = (state, action), after, ~ended.astype(bool)
        self.first = np.array(world.initial_state_distrib, float)
        self.limit = (env.spec and env.spec.max_episode_steps) or LIMIT

    def expected_return(self, values: np.ndarray) -> float:
        """Return what an episode earns in the mean, until the time limit, by the greatest of `values [S, A]`.

        Equal values are equally likely, as in `Dyna.act`.
        """
        policy = (values == values.max(1, keepdims=True)).astype(float)
        policy /= policy.sum(1, keepdims=True)
        chance = self.chance * policy[self.pair]  # of each outcome, in its state
        earned = np.bincount(self.pair[0], chance * self.reward, len(self.first))
        state, after, chance = (x[(chance > 0) & self.goes_on] for x in (self.pair[0], self.after, chance))
        here, total = self.first, 0.0
        for _ in range(self.limit):
            total += here @ earned
            here = np.bincount(after, chance * here[state], len(self.first))
        return float(total)


def live(world: World, config: DynaConfig, seed: int) -> list[float]:
    """Return what the greedy policy of one life is worth after every `world.every` real steps."""
    env: gym.Env[Any, Any] = gym.make(world.env)
    table = Table(env)
    agent = Dyna(Tabular(Config(), env.observation_space, env.action_space), config, seed)
    curve: list[float] = []
    obs, _ = env.reset(seed=seed)
    while len(curve) < world.steps // world.every * (1 if config.planning_steps else LONGER):
        action = agent.act(obs)
        after, reward, terminated, truncated, _ = env.step(action)
        agent.learn(obs, action, float(reward), terminated, after)
        obs = env.reset()[0] if terminated or truncated else after
        if agent.steps % world.every == 0:
            curve.append(table.expected_return(agent.values))
    return curve


def kept(path: Path, world: World, config: DynaConfig, seed: int) -> np.ndarray:
    """Return the curve in a file, or live and write it."""
    if not path.exists():
        np.save(path, live(world, config, seed))
    return np.load(path)


def steps_to(curve: np.ndarray, world: World) -> float:
    """Return the real steps of the first of `HELD` measurements in a row that reach the score; else infinity."""
    reached = np.convolve(curve >= world.score - 1e-6, np.ones(HELD), "valid") == HELD
    return float(world.every * (1 + reached.argmax())) if reached.any() else np.inf


def tell(name: str, curves: np.ndarray, world: World) -> None:
    """Print a row of the table."""
    needed = np.array([steps_to(curve, world) for curve in curves])
    reached = needed[np.isfinite(needed)]
    words = f"{mean_and_error(reached, '.0f')}" if len(reached) > 1 else "-"
    end = mean_and_error(curves[:, world.steps // world.every - 1], ".2f")
    print(f"{world.env} | {name} | {len(reached)} of {len(needed)} | {words} | {end}", flush=True)


def mean_and_error(values: np.ndarray, form: str) -> str:
    """Return the mean and its standard error over runs in words."""
    return f"{values.mean():{form}} +- {values.std(ddof=1) / len(values) ** 0.5:{form}}"


def draw(results: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the mean of each agent's curves with its standard error."""
    figure = Figure(figsize=(13, 4), dpi=130, layout="constrained")
    for axes, world in zip(figure.subplots(1, len(WORLDS)), WORLDS, strict=True):
        for color, (name, curves) in zip(COLOURS, results[world.env].items(), strict=True):
            curves = curves[:, : world.steps // world.every]
            x = world.every * np.arange(1, curves.shape[1] + 1)
            mean, error = curves.mean(0), curves.std(0, ddof=1) / len(curves) ** 0.5
            axes.plot(x, mean, color=color, linewidth=1.8, label=name)
            axes.fill_between(x, mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
        axes.axhline(world.score, color="#444444", linewidth=0.8, linestyle=":")
        axes.set_title(world.env, loc="left", fontsize=11)
        axes.set_xlabel("real steps")
        axes.set_ylabel("expected return of the greedy policy")
        axes.set_ylim(world.lowest, world.score + 0.08 * (world.score - world.lowest))
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path)


def main(
    runs: int = 20,
    out: Path = Path("runs/dyna_worlds.png"),
    folder: Path = Path("runs/dyna_worlds"),
    first_seed: int = 0,
) -> None:
    """Draw the curves and print the table.

    Args:
        runs: lives of each agent.
        out: PNG file.
        folder: where the curves are kept; name a new one after a change of settings.
        first_seed: the lives' seeds are this and the following numbers.
    """
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, np.ndarray]] = {}
    print(f"world | agent | runs that reach it ({LONGER} lives without planning) | real steps to it | after one life")
    for world in WORLDS:
        results[world.env] = {}
        for name, (planning_steps, kappa) in AGENTS.items():
            config = replace(world.config, planning_steps=planning_steps, kappa=kappa)
            seeds = tqdm(range(first_seed, first_seed + runs), desc=f"{world.env}, {name}", leave=False)
            lives = [kept(folder / f"{world.env}, {name}, {seed}.npy", world, config, seed) for seed in seeds]
            results[world.env][name] = np.array(lives)
            tell(name, results[world.env][name], world)
    draw(results, out)


if __name__ == "__main__":
    tyro.cli(main)
