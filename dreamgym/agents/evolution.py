"""The 2018 controller: a linear policy whose weights CMA-ES evolves inside a dream."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dreamgym.core import noise
from dreamgym.core.codec import encode_action
from dreamgym.core.kept import Kept
from dreamgym.core.model import WorldModel
from dreamgym.core.policy import Policy, PolicyConfig
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import gather
from dreamgym.errors import InvalidArgument, MissingExtra


class Dream(Protocol):
    """What evolution needs of a dream; a `LoadedDream` has it."""

    @property
    def model(self) -> WorldModel[Any]: ...
    @property
    def starts(self) -> StartBank[Any]: ...
    @property
    def name(self) -> str: ...
    @property
    def model_sha256(self) -> str: ...


@dataclass(frozen=True)
class Generation:
    """What one generation of a population achieved in the dream."""

    generation: int
    """Counted from 1."""
    best: float
    """Largest expected return of a candidate, env units; NaN if no candidate's was finite."""
    mean: float
    """Of the candidates whose return was finite."""
    diverged: int
    """Candidates whose return was not finite."""
    steps_per_second: float
    """Dreamed steps of all lanes."""


def evolve(
    dream: Dream,
    *,
    generations: int,
    population: int = 64,
    rollouts: int = 16,
    horizon: int = 250,
    sigma: float = 0.1,
    seed: int = 0,
    hidden: Sequence[int] = (),
    starts: str = "all",
    progress: Callable[[Generation], object] | None = None,
    keep: Kept | None = None,
) -> tuple[Policy, list[Generation]]:
    """Return the mean of the last generation as a policy, and what each generation achieved.

    Args:
        dream: where the candidates live.
        generations: how often the population is drawn anew.
        population: candidates of a generation.
        rollouts: dreams of each candidate; those of one generation share their starts and their noise.
        horizon: decisions of a rollout.
        sigma: first standard deviation of the weights.
        seed: the same seed evolves the same policy.
        hidden: widths of hidden layers; none is the paper's linear controller.
        starts: "all" recorded situations, or only those that open an episode ("first").
        progress: called after each generation; False ends the evolution.
        keep: interrupted, the same call goes on from it, to the same policy.

    Raises:
        MissingExtra: if pycma is not installed.
        InvalidArgument: if a count is not positive, or another evolution was kept there.

    Source: Ha & Schmidhuber 2018, section 2.3 and appendix A.4. Where they draw an episode's end, a reward counts here
    with the probability that the episode is still running: the same expectation, less noise.
    """
    counts = {"generations": generations, "population": population, "rollouts": rollouts, "horizon": horizon}
    for name, count in counts.items():
        if count < (2 if name == "population" else 1):
            raise InvalidArgument(f"{name} is {count}; expected at least {2 if name == 'population' else 1}.")
    config = PolicyConfig(
        input_dim=dream.model.feature_dim, hidden=tuple(hidden), output="tanh",
        dream=dream.name, model_sha256=dream.model_sha256,
    )  # fmt: skip
    policy = Policy(config, dream.model.action_space)
    search = _search(policy.num_weights(), population, sigma, seed)
    bank = dream.starts.only(starts)
    history, orders = [], []
    found = keep and keep.read(
        population=population, rollouts=rollouts, horizon=horizon, sigma=sigma, seed=seed, hidden=list(hidden),
        starts=starts, model=dream.model_sha256, pycma=metadata.version("cma"),
    )  # fmt: skip
    if found:
        history = [Generation(**row) for row in found.rows]
        for order in found.tensors["orders"].numpy():  # the search draws the same again, without any dreams
            orders.append(order)
            search.tell(search.ask(), list(order))
    for generation in range(len(history) + 1, generations + 1):
        since = time.perf_counter()
        weights = np.stack(search.ask())  # [N, W]
        returns = expected_returns(
            dream.model, bank, policy, torch.from_numpy(weights).float(), rollouts, horizon, seed, generation
        ).numpy(force=True)
        orders.append(rank(returns))
        search.tell(list(weights), list(orders[-1]))  # it looks at the order only
        finite = returns[np.isfinite(returns)]
        row = Generation(
            generation,
            best=float(finite.max()) if len(finite) else float("nan"),
            mean=float(finite.mean()) if len(finite) else float("nan"),
            diverged=population - len(finite),
            steps_per_second=population * rollouts * horizon / (time.perf_counter() - since),
        )
        history.append(row)
        if progress is not None and progress(row) is False:
            break
        if keep:
            keep.offer(generation, history, lambda: {"orders": torch.from_numpy(np.stack(orders))})
    nn.utils.vector_to_parameters(torch.from_numpy(search.mean).float(), policy.parameters())
    return policy.eval(), history


@torch.no_grad()
def expected_returns(
    model: WorldModel[Any],
    starts: StartBank[Any],
    policy: Policy,
    weights: Tensor,
    rollouts: int,
    horizon: int,
    seed: int,
    generation: int,
) -> Tensor:
    """Return `[N]`, what each candidate earns on average: rewards times the probability of still running.

    Args:
        model: the world model.
        starts: where rollouts begin.
        policy: of whose shape the candidates are.
        weights: `[N, W]`, a candidate a row, in the order of `policy.parameters()`.
        rollouts: R dreams of a candidate, the same R for each candidate.
        horizon: H, decisions of a rollout.
        seed, generation: name the starts and the noise.
    """
    N, R, device = len(weights), rollouts, starts.is_first.device
    parameters = _unflatten(weights.to(device), policy)
    forward = torch.func.vmap(lambda own, features: torch.func.functional_call(policy, own, features))
    lane = seed + torch.arange(R, device=device)  # the seeds of R dreams, which all candidates share
    alike = torch.arange(R, device=device).repeat(N)  # [N * R], candidate by candidate
    episode = torch.full_like(lane, generation)
    state = gather(starts.sample(noise.uniform(lane, noise.START, episode)), alike)
    alive = torch.ones(N * R, device=device)
    total = torch.zeros_like(alive)
    for t in range(horizon):
        raw = forward(parameters, model.features(state).unflatten(0, (N, R))).flatten(0, 1)  # [N * R, A]
        draws = noise.normal(lane, noise.DYNAMICS, episode * horizon + t, model.noise_dim)  # [R, n]
        out = model.step(state, encode_action(model.action_space, policy.bound(raw)), draws[alike])
        total += alive * out.reward
        alive = alive * (1 - out.termination)
        state = out.state
    return total.view(N, R).mean(1)


def rank(returns: np.ndarray) -> np.ndarray:
    """Return `[N]`, 0 for the candidate with the largest return; those that are not finite come last."""
    order = np.argsort(np.where(np.isfinite(returns), -returns, np.inf), kind="stable")
    ranks = np.empty(len(returns))
    ranks[order] = np.arange(len(returns))
    return ranks


def _search(num_weights: int, population: int, sigma: float, seed: int) -> Any:
    """Return pycma's strategy around zero weights, on random numbers of its own."""
    try:
        import cma
    except ImportError as error:
        raise MissingExtra("evolve", "pycma", "es") from error
    rng = np.random.default_rng(seed)
    options = {
        "popsize": population,
        "randn": lambda rows, columns: rng.standard_normal((rows, columns)),  # its seed 0 means "by the clock"
        "verbose": -9,
    }
    return cma.CMAEvolutionStrategy(np.zeros(num_weights), sigma, options)


def _unflatten(weights: Tensor, policy: Policy) -> dict[str, Tensor]:
    """Return the rows of `weights [N, W]` as the policy's parameters, `[N, ...]` each."""
    named = dict(policy.named_parameters())
    parts = weights.split([parameter.numel() for parameter in named.values()], 1)
    return {name: part.unflatten(1, named[name].shape) for name, part in zip(named, parts, strict=True)}
