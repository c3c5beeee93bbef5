"""Dyna-Q and Dyna-Q+ in the mazes of Sutton & Barto: figures 8.2, 8.4 and 8.5.

    python benchmarks/dyna_curves.py --runs 30 --out docs/pictures/dyna_curves.png

About a quarter of an hour on one free core. Prints, over all runs, mean and standard error: the steps of an episode
after so many episodes (8.2), and the cumulative reward after so many steps (8.4, 8.5). Settings that the book does not
give are said in `FIGURES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from tqdm import tqdm

import dreamgym  # noqa: F401  registers the mazes
from dreamgym.agents.dyna import Dyna, DynaConfig
from dreamgym.models.tabular import Config, Tabular

Curves = dict[str, np.ndarray]
"""Agent -> `[runs, points]`."""


@dataclass(frozen=True)
class Race:
    """Agents in one maze."""

    title: str
    maze: str
    agents: dict[str, DynaConfig]
    episodes: int | None = None
    """Until so many have ended: the curve is their lengths."""
    steps: int | None = None
    """Or until so many steps are done: the curve is the cumulative reward."""
    shown: tuple[int, ...] = ()
    """Points of the curve that are printed."""


# the book gives alpha, gamma and epsilon for 8.2 alone; 8.4 and 8.5 are its exercise: planning steps and kappa are ours
FIGURES = (
    Race(
        "Dyna maze (8.2)",
        "DynaMaze-v0",
        {f"{n} planning steps": DynaConfig(planning_steps=n) for n in (0, 5, 50)},
        episodes=50,
        shown=(2, 5, 10, 25, 50),
    ),
    Race(
        "Blocking maze (8.4)",
        "DynaMazeBlocking-v0",
        {
            "Dyna-Q": DynaConfig(planning_steps=10, step_size=1.0),
            "Dyna-Q+": DynaConfig(planning_steps=10, step_size=1.0, kappa=1e-4),
        },
        steps=3000,
        shown=(1000, 2000, 3000),
    ),
    Race(
        "Shortcut maze (8.5)",
        "DynaMazeShortcut-v0",
        {
            "Dyna-Q": DynaConfig(planning_steps=50, step_size=1.0),
            "Dyna-Q+": DynaConfig(planning_steps=50, step_size=1.0, kappa=1e-3),
        },
        steps=6000,
        shown=(3000, 4500, 6000),
    ),
)


def live(race: Race, config: DynaConfig, seed: int) -> list[float]:
    """Return the curve of one agent's life."""
    env: gym.Env[Any, Any] = gym.make(race.maze)
    model = Tabular(Config(decay=0.0), env.observation_space, env.action_space)
    agent = Dyna(model, config, seed)
    lengths: list[float] = []
    earned: list[float] = []
    total, begun = 0.0, 0
    obs, _ = env.reset(seed=seed)
    while len(lengths) < race.episodes if race.episodes else len(earned) < (race.steps or 0):
        action = agent.act(obs)
        after, reward, ended, _, _ = env.step(action)
        agent.learn(obs, action, float(reward), bool(ended), after)
        total += float(reward)
        earned.append(total)
        obs = after
        if ended:
            lengths.append(agent.steps - begun)
            begun = agent.steps
            obs, _ = env.reset()
    return lengths if race.episodes else earned


def draw(results: dict[str, Curves], path: Path) -> None:
    """Draw the mean of each curve with its standard error."""
    figure = Figure(figsize=(13, 4), dpi=130, layout="constrained")
    for axes, race in zip(figure.subplots(1, len(FIGURES)), FIGURES, strict=True):
        for color, (name, curves) in zip(("#8c8c8c", "#4c72b0", "#dd8452"), results[race.title].items(), strict=False):
            x = np.arange(1, curves.shape[1] + 1)
            first = 1 if race.episodes else 0  # the first episode is chance alone, as in the book
            mean, error = curves.mean(0)[first:], standard_error(curves)[first:]
            axes.plot(x[first:], mean, color=color, linewidth=1.8, label=name)
            axes.fill_between(x[first:], mean - error, mean + error, color=color, alpha=0.25, linewidth=0)
        axes.set_title(race.title, loc="left", fontsize=11)
        axes.set_xlabel("episodes" if race.episodes else "real steps")
        axes.set_ylabel("steps an episode" if race.episodes else "cumulative reward")
        axes.set_ylim(bottom=0, top=800 if race.episodes else None)
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path)


def standard_error(curves: np.ndarray) -> np.ndarray:
    """Return that of the mean over the runs."""
    return curves.std(0, ddof=1) / len(curves) ** 0.5


def main(runs: int = 30, out: Path = Path("runs/dyna_curves.png")) -> None:
    """Draw the three figures.

    Args:
        runs: lives of each agent, seeded 0, 1, ...
        out: PNG file.
    """
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Curves] = {}
    for race in FIGURES:
        results[race.title] = {}
        for name, config in race.agents.items():
            lives = [live(race, config, seed) for seed in tqdm(range(runs), desc=f"{race.title}, {name}", leave=False)]
            curves = results[race.title][name] = np.array(lives)
            mean, error = curves.mean(0), standard_error(curves)
            figures = ", ".join(f"{point}: {mean[point - 1]:.1f} +- {error[point - 1]:.1f}" for point in race.shown)
            print(f"{race.title}, {name}: {figures}", flush=True)
    draw(results, out)


if __name__ == "__main__":
    tyro.cli(main)
