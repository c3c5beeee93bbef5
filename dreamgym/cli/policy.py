"""`dreamgym train-policy`: PPO, Dreamer or CMA-ES inside a dream."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from dreamgym.agents.dreamer_config import DreamerConfig
from dreamgym.bridges.sb3 import export_policy
from dreamgym.bridges.sb3_ppo import PPOConfig, Progress, train_ppo
from dreamgym.core.kept import Kept
from dreamgym.core.policy import Policy, mean_policy, save_policy
from dreamgym.core.wrapper import WrapSpec
from dreamgym.errors import InvalidArgument
from dreamgym.hub import LoadedDream, load, ship_policy
from dreamgym.training.run import choose_device


@dataclass(kw_only=True)
class Evolution:
    """CMA-ES, the search of the 2018 paper."""

    generations: int = 100
    """How often the population is drawn anew."""
    population: int = 64
    """Candidates of a generation."""
    rollouts: int = 16
    """Dreams of each candidate."""
    horizon: int = 250
    """Decisions of a dream."""
    sigma: float = 0.1
    """First standard deviation of the weights."""
    hidden: tuple[int, ...] = ()
    """Widths of hidden layers; none is the paper's linear controller."""


@dataclass(kw_only=True)
class PolicyOptions:
    """Train a policy inside a dream; the real environment is not touched.

    Killed at any moment, it goes on from a minute before when the same command is given again; Dreamer, on the CPU, and
    CMA-ES then end with the policy that they would have learned without a break.
    """

    dream: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
    """Id of a registered dream, or a folder that `dreamgym train` wrote."""
    out: Path | None = None
    """File of the policy (.safetensors); by default it goes into the dream's folder and is called "shipped"."""
    algo: Literal["ppo", "dreamer", "cma"] = "ppo"
    """PPO of Stable-Baselines3, Dreamer's actor-critic, or evolution by CMA-ES."""
    variant: str | None = None
    """Which variant of a registered dream; by default its first."""
    others: tuple[str, ...] = ()
    """PPO: dreams with the same features, e.g. of earlier models of the same training, in which the policy learns as
    well: then it cannot live on the errors of one. Each gets its share of the lanes."""
    wrap: tuple[str, ...] = ()
    """Model wrappers, the innermost first, e.g. temperature:temperature=1.15 tent:peak=4.2"""
    starts: Literal["all", "first"] = "all"
    """Dreams begin in any recorded situation, or only where episodes began."""
    seed: int = 0
    """Of weights, dreams and exploration."""
    members: int = 1
    """Policies to train, with this seed and the following ones; what acts is the mean of them."""
    device: str = "cpu"
    """cpu or cuda; a GPU pays from some thousand lanes upwards."""
    decisions: int = 2_000_000
    """PPO: decisions of all dreams together."""
    lanes: int = 512
    """PPO: dreams at once."""
    horizon: int | None = 64
    """PPO: decisions after which a dream begins anew; None is the dream's own time limit."""
    json: bool = False
    """Print JSON: the file and the learning curve."""
    updates: int = 5000
    """Dreamer: updates of the actor and the critic."""
    imagined: int = 256
    """Dreamer: imagined rollouts of an update."""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    dreamer: DreamerConfig = field(default_factory=DreamerConfig)
    cma: Evolution = field(default_factory=Evolution)


def train_policy(options: PolicyOptions) -> int:
    """Train a policy inside a dream, by PPO, in imagination or by evolution."""
    options.device = str(choose_device(options.device))
    dream = load(options.dream, options.variant)
    assert dream.folder is not None
    if options.out is not None and options.out.suffix != ".safetensors":
        raise InvalidArgument(f"out is {options.out}; expected a file name that ends in .safetensors.")
    if options.members < 1:
        raise InvalidArgument(f"members is {options.members}; expected at least 1.")
    if options.others and options.algo != "ppo":
        raise InvalidArgument(f"others is for PPO; {options.algo} learns in one dream.")
    if options.members > 1 and options.algo == "dreamer" and options.dreamer.norm != "none":
        raise InvalidArgument("members needs policies without norms; add --dreamer.norm none.")
    train = {"ppo": _ppo, "dreamer": _dreamer, "cma": _cma}[options.algo]
    wrap, place = parse_wrap(options.wrap), options.out or dream.folder / "policy"
    members = [
        (replace(options, seed=seed), Kept(place.with_suffix(f".{options.algo}-{seed}.unfinished"), wrap=wrap))
        for seed in range(options.seed, options.seed + options.members)
    ]
    for _, keep in members:
        if keep.path.exists():
            print(f"found {keep.path}: going on where that training was interrupted", file=sys.stderr)
    trained = [train(own, dream, wrap, keep) for own, keep in members]
    policy = trained[0][0] if options.members == 1 else mean_policy([policy for policy, _ in trained])
    curve = [row for _, rows in trained for row in rows]
    path = save_policy(policy, options.out) if options.out else ship_policy(dream.folder, policy)
    for _, keep in members:
        keep.remove()
    if options.json:
        print(json.dumps({"policy": str(path), "curve": [asdict(row) for row in curve]}))
    else:
        chosen = f" --policy {path}" if options.out else ""
        print(f"{path} holds the policy. Next: dreamgym eval {options.dream}{chosen}")
    return 0


def _ppo(options: PolicyOptions, dream: LoadedDream, wrap: WrapSpec, keep: Kept) -> tuple[Policy, Sequence[Any]]:
    with tqdm(total=options.decisions, unit="decision", unit_scale=True, disable=not sys.stderr.isatty()) as bar:

        def show(algorithm: Any, row: Progress) -> None:
            bar.set_postfix(reward=f"{row.reward:.2f}", episode=f"{row.episode_return:.1f}", refresh=False)
            bar.update(row.decisions - bar.n)

        algorithm, curve = train_ppo(
            dream,
            others=options.others,
            decisions=options.decisions,
            lanes=options.lanes,
            horizon=options.horizon,
            starts=options.starts,
            wrap=wrap,
            seed=options.seed,
            device=options.device,
            config=options.ppo,
            progress=show,
            keep=keep,
        )
    return export_policy(algorithm, dream), curve


def _dreamer(options: PolicyOptions, dream: LoadedDream, wrap: WrapSpec, keep: Kept) -> tuple[Policy, Sequence[Any]]:
    from dreamgym.agents.dreamer import DreamerProgress, train_dreamer
    from dreamgym.envs.open import open_dream

    with tqdm(total=options.updates, unit="update", disable=not sys.stderr.isatty()) as bar:

        def show(row: DreamerProgress) -> None:
            bar.set_postfix(reward=f"{row.figures['imagined_reward']:.2f}", refresh=False)
            bar.update(row.update - bar.n)

        return train_dreamer(
            open_dream(dream, None, wrap, options.device),
            updates=options.updates,
            starts_per_update=options.imagined,
            config=options.dreamer,
            starts=options.starts,
            seed=options.seed,
            progress=show,
            keep=keep,
        )


def _cma(options: PolicyOptions, dream: LoadedDream, wrap: WrapSpec, keep: Kept) -> tuple[Policy, Sequence[Any]]:
    from dreamgym.agents.evolution import Generation, evolve
    from dreamgym.envs.open import open_dream

    with tqdm(total=options.cma.generations, unit="generation", disable=not sys.stderr.isatty()) as bar:

        def show(row: Generation) -> None:
            bar.set_postfix(best=f"{row.best:.1f}", mean=f"{row.mean:.1f}", refresh=False)
            bar.update(row.generation - bar.n)

        wrapped = open_dream(dream, None, wrap, options.device)
        settings = asdict(options.cma)
        return evolve(wrapped, seed=options.seed, starts=options.starts, progress=show, keep=keep, **settings)


def parse_wrap(texts: Sequence[str]) -> WrapSpec:
    """Return the wrappers that texts such as `tent:peak=4.2,slope=-0.5` name.

    >>> parse_wrap(["temperature:temperature=1.15"])
    [('temperature', {'temperature': 1.15})]
    >>> parse_wrap(["reward_shaping:points=[[0,0],[4,4],[5,3]]"])
    [('reward_shaping', {'points': [[0, 0], [4, 4], [5, 3]]})]

    Raises:
        InvalidArgument: if a text is none.
    """
    wrap: list[tuple[str, Mapping[str, Any]]] = []
    for text in texts:
        name, _, rest = text.partition(":")
        try:
            pairs = [part.split("=") for part in re.split(r",(?=\w+=)", rest) if rest]  # a list has commas of its own
            wrap.append((name, {key: json.loads(value) for key, value in pairs}))
        except ValueError as error:
            raise InvalidArgument(f"wrap is {text!r}; expected NAME:KEY=NUMBER, e.g. tent:peak=4.2") from error
    return wrap
