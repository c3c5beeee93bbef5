"""The ablation of "World Models": what a linear controller of CarRacing sees, evolved in the dream or in the real env.

    python benchmarks/car_ablation.py
    python benchmarks/car_ablation.py --where real --generations 40 --population 32 --tracks 20

It sees V alone (z), V and the trained M (z, h), or V and an M that was never trained, a reservoir: if the last one does
as well as the second, h is of use because it remembers, and not because M foresees. In the paper, evolved in the real
env, V scored 632, V and M 906. V and M are the shipped 2018 model's. CMA-ES evolves all controllers with the same
budget. Rows that exist are not made again. A real episode takes two seconds of a free core; the default, in dreams
alone, about ten minutes.
"""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cma
import numpy as np
import torch
import tyro
from gymnasium.wrappers import TimeLimit
from lessons import append
from torch import Tensor, nn

from dreamgym.agents.evolution import expected_returns, rank
from dreamgym.core.model import Obs, Transition
from dreamgym.core.policy import Policy, PolicyConfig
from dreamgym.core.sampling import PerLane
from dreamgym.core.tree import device_of, num_lanes, where
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.envs.twin import make_real
from dreamgym.evaluation.policies import PolicyActor
from dreamgym.evaluation.transfer import evaluate, real_episode
from dreamgym.hub import LoadedDream, load
from dreamgym.models.layers import LSTMCell

SENSES = ("V", "V and M", "V and untrained M")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Sizes of the comparison."""

    senses: tuple[str, ...] = SENSES
    where: tuple[str, ...] = ("dream",)
    """In which controllers are evolved: "dream", "real"."""
    seeds: tuple[int, ...] = (0,)
    """Of the evolution, and of the untrained M."""
    generations: int = 40
    population: int = 32
    rollouts: int = 4
    """Dreamed or real episodes of each candidate; those of a generation share their starts."""
    horizon: int = 250
    """Decisions of each."""
    tracks: int = 20
    """Real episodes that score a controller, and as many dreamed ones."""
    first_seed: int = 740_000
    """Of these; no choice was made on them."""
    out: Path = Path("runs/car_ablation")
    """Folder of results.csv."""


@dataclass(frozen=True)
class Remembering:
    """A state of a dream, and what an M remembers of it that nobody trained."""

    inner: Any
    h: Tensor
    """`[B, D]`"""
    c: Tensor
    """`[B, D]`"""


class Sees(ModelWrapper[Any]):
    """The 2018 model seen by a controller that is shown V alone, or an untrained M in place of the trained one.

    Args:
        model: that dreams; a `VaeMdnRnn`.
        senses: one of `SENSES`.
        seed: of the untrained M.
    """

    def __init__(self, model: Any, senses: str, seed: int = 0) -> None:
        super().__init__(model)
        self.senses = senses
        latent, self.hidden = model.config.latent_dim, model.config.hidden_dim
        self.feature_dim = latent + (self.hidden if senses != "V" else 0)
        self.memory: LSTMCell | None = None
        if senses == "V and untrained M":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.memory = LSTMCell(model.lstm.input_dim, self.hidden).eval()

    def begin(self, state: Any) -> Any:
        """Return dreams whose untrained memory is empty."""
        if self.memory is None:
            return state
        empty = torch.zeros(num_lanes(state), self.hidden, device=device_of(state))
        return Remembering(state, empty, empty)

    def inner(self, state: Any) -> Any:
        """Return the model's states."""
        return state if self.memory is None else state.inner

    def observe(self, state: Any, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> Any:
        """Return the posterior; an episode's first observation empties the memory."""
        after = self.model.observe(self.inner(state), action, obs, is_first, noise)
        return (
            after if self.memory is None else where(is_first, self.begin(after), self._remember(state, action, after))
        )

    def step(
        self, state: Any, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[Any]:
        """Return the model's transition; the untrained memory reads along."""
        out = self.model.step(self.inner(state), action, noise, temperature)
        return out if self.memory is None else replace(out, state=self._remember(state, action, out.state))

    def features(self, state: Any) -> Tensor:
        """Return `[B, F]`: z, or z and a memory."""
        z = self.inner(state).z
        return z if self.senses == "V" else torch.cat([z, state.h], 1)

    @torch.no_grad()
    def _remember(self, before: Remembering, action: Tensor, after: Any) -> Remembering:
        assert self.memory is not None
        return Remembering(after, *self.memory.step([before.inner.z, action], before.h, before.c))


def seen_by(dream: LoadedDream, senses: str, seed: int) -> LoadedDream:
    """Return the dream as a controller with such senses sees it."""
    model = Sees(dream.model, senses, seed)
    return replace(dream, model=model, starts=replace(dream.starts, states=model.begin(dream.starts.states)))


def evolve(policy: Policy, returns: Callable[[np.ndarray, int], np.ndarray], options: Options, seed: int) -> Policy:
    """Return the mean of the last generation.

    Args:
        policy: of whose shape the candidates are.
        returns: from the weights `[N, W]` and the generation to what each candidate earns, `[N]`.
        options: generations and population.
        seed: of the search.
    """
    rng = np.random.default_rng(seed)
    draw = {"popsize": options.population, "randn": lambda *shape: rng.standard_normal(shape), "verbose": -9}
    search = cma.CMAEvolutionStrategy(np.zeros(policy.num_weights()), 0.1, draw)
    for generation in range(1, options.generations + 1):
        weights = np.stack(search.ask())
        search.tell(list(weights), list(rank(returns(weights, generation))))
    return with_weights(policy, search.mean)


def with_weights(policy: Policy, weights: np.ndarray) -> Policy:
    """Return the policy with other weights `[W]`."""
    nn.utils.vector_to_parameters(torch.from_numpy(weights).float(), policy.parameters())
    return policy.eval()


def train(dream: LoadedDream, side: str, options: Options, seed: int) -> Policy:
    """Return a linear controller that was evolved on one side, "dream" or "real"."""
    policy = Policy(PolicyConfig(input_dim=dream.model.feature_dim, output="tanh"), dream.model.action_space)
    if side == "dream":
        rollouts, horizon = options.rollouts, options.horizon
        return evolve(policy, lambda weights, generation: expected_returns(
            dream.model, dream.starts, policy, torch.from_numpy(weights).float(), rollouts, horizon, seed, generation
        ).numpy(), options, seed)  # fmt: skip
    env: Any = TimeLimit(make_real(dream, observation="features"), options.horizon)

    def drive(weights: np.ndarray, generation: int) -> np.ndarray:
        tracks = [10_000 * (seed + 1) + options.rollouts * generation + i for i in range(options.rollouts)]
        found = [[real_episode(env, PolicyActor(with_weights(policy, row)), track).total_reward for track in tracks]
                 for row in weights]  # fmt: skip
        return np.mean(found, 1)

    try:
        return evolve(policy, drive, options, seed)
    finally:
        env.close()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One controller."""

    senses: str
    where: str
    seed: int
    budget: int
    """Decisions of all candidates."""
    dream: float
    real: float
    real_std: float
    real_min: float
    tracks: int
    seconds: float
    """Of the process, for evolution and scores."""


def key(row: dict[str, Any]) -> tuple[str, ...]:
    """Return what tells a row from others."""
    return tuple(str(row[name]) for name in ("senses", "where", "seed", "budget"))


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table on disk; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fill(dream: LoadedDream, options: Options) -> None:
    """Evolve and score the controllers that the table lacks."""
    path = options.out / "results.csv"
    budget = options.generations * options.population * options.rollouts * options.horizon
    for seed, side, senses in itertools.product(options.seeds, options.where, options.senses):
        named = {"senses": senses, "where": side, "seed": seed, "budget": budget}
        rows = read(path)
        if key(named) in map(key, rows):
            continue
        since, seen = time.process_time(), seen_by(dream, senses, seed)
        policy = train(seen, side, options, seed)
        figures = evaluate(seen, policy, episodes=options.tracks, seed=options.first_seed)
        real = figures["real"]
        row = Row(**named, dream=figures["dream"]["mean"], real=real["mean"], real_std=real["std"],
                  real_min=real["min"], tracks=options.tracks, seconds=time.process_time() - since)  # fmt: skip
        print(row, flush=True)
        append(path, asdict(row))


def to_markdown(rows: list[dict[str, str]]) -> str:
    """Return the table, with the standard error over tracks."""
    lines = ["| sees | evolved in | decisions | dream | real | worst track |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        error = float(row["real_std"]) / int(row["tracks"]) ** 0.5
        lines.append(
            f"| {row['senses']} | {row['where']} | {int(row['budget']):,} | {float(row['dream']):.0f} | "
            f"{float(row['real']):.0f} ± {error:.0f} | {float(row['real_min']):.0f} |"
        )
    return "\n".join(lines)


def main(options: Options) -> None:
    """Fill and print."""
    torch.set_num_threads(1)
    fill(load("DreamCarRacing-v0", "vae_mdn_rnn"), options)
    print(to_markdown(read(options.out / "results.csv")))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
