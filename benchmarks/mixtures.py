"""Why a dream draws from mixtures: one Gaussian a latent number against five, on the same recordings of Dodge-v0.

    python benchmarks/mixtures.py
    python benchmarks/mixtures.py --draw

V is that of the shipped dream, and so is the memory that M begins with; what M says of the next latents is learned anew
with each number of Gaussians, from the same recordings, in the same batches. (`--scratch` begins with an empty M, which
takes ten times the steps.) Then a policy learns in each, and is scored there and in the real game; and both dream from
moments in which a thing is about to toss its coin. Ten minutes on a free core. What exists is not made again; `--draw`
only makes the picture and the figures.

Prints the nats of M on held-out episodes; the scores; and, for dreams of a branching thing, the squared error of the
window in which it falls, against the nearer of the two futures that are possible.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from lessons import Lesson, append_row, mean, read_rows, take
from torch import Tensor

from dreamgym.bridges.sb3_ppo import PPOConfig
from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.filter import observe_real
from dreamgym.core.noise import normal
from dreamgym.core.starts import make_start_bank
from dreamgym.core.tree import gather
from dreamgym.data.collect import collect
from dreamgym.data.episodes import Dataset
from dreamgym.hub import LoadedDream, build_model, load, save_dream
from dreamgym.models.vae_mdn_rnn import VaeMdnRnn
from dreamgym.real.dodge import MAX_EPISODE_STEPS
from dreamgym.real.dodge_world import ARMED, BRANCH_Y, EMPTY, VELOCITY_Y, DodgeWorld, advance
from dreamgym.training import TrainConfig, fit

STREAM = 11
AHEAD = 5  # steps that a thing veers for
SIDE, ABOVE, BELOW = 22, 6, 24  # pixels about a thing that is about to branch: where its futures lie


@dataclass(frozen=True, kw_only=True)
class Options:
    """Sizes of the comparison."""

    gaussians: tuple[int, ...] = (1, 5)
    """Of the mixtures."""
    episodes: int = 400
    """Recorded by the scripted drivers."""
    data_seed: int = 4_000_000
    """Of the first of them."""
    steps: int = 600
    """Of M's training."""
    scratch: bool = False
    """Begin with an empty memory, not with the shipped dream's."""
    seeds: tuple[int, ...] = (0, 1)
    """Of the policies' training."""
    decisions: int = 500_000
    """Of a policy's training."""
    lanes: int = 256
    """Dreams at once."""
    scored: int = 100
    """Episodes on each side, for each policy."""
    first_seed: int = 730_000
    """Of these episodes; no choice was made on them."""
    moments: int = 40
    """In which a thing is about to branch, from another 100,000 seeds onwards."""
    draws: int = 20
    """Dreams of each moment."""
    out: Path = Path("runs/mixtures")
    """Folder of the recordings, the dreams, results.csv and the picture."""
    draw: bool = False
    """Train nothing."""
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(hidden=(64, 64), gamma=0.97, entropy=0.005))


def make_dream(gaussians: int, options: Options) -> Path:
    """Return the folder of the dream with so many Gaussians; it is trained if it is not there yet."""
    folder = options.out / f"gaussians_{gaussians}"
    if (folder / "card.toml").exists():
        return folder
    collect("Dodge-v0", options.out / "data", episodes=options.episodes, seed=options.data_seed)
    dataset = Dataset(options.out / "data")
    model = with_mixtures(load("DreamDodge-v0", "vae_mdn_rnn"), gaussians, options.scratch)
    stage = replace(model.stages["mdn_rnn"], steps=options.steps)
    config = TrainConfig(tensorboard=False)
    result = fit(model, dataset, folder / "training", stages={"mdn_rnn": stage}, only=("mdn_rnn",), config=config)
    bank = make_start_bank(model, dataset.split(config.holdout)[0])
    card = {
        "id": folder.name,
        "real": "Dodge-v0",
        "max_episode_steps": MAX_EPISODE_STEPS,
        "training": {"steps": dict(result.steps), "validation": dict(result.validation)},
    }
    return save_dream(folder, model, bank, card)


def with_mixtures(dream: LoadedDream, gaussians: int, scratch: bool = False) -> VaeMdnRnn:
    """Return a model with the dream's V and, unless from scratch, its LSTM; what is drawn from is not trained yet."""
    trained: Any = dream.model
    config = asdict(replace(trained.config, num_mixtures=gaussians))
    torch.manual_seed(0)
    model = build_model("vae_mdn_rnn", config, trained.observation_space, trained.action_space)
    model.vae.load_state_dict(trained.vae.state_dict())
    if not scratch:
        model.lstm.load_state_dict(trained.lstm.state_dict())
    return model


def score(folder: Path, options: Options) -> None:
    """Train and score the policies that the table lacks."""
    path = options.out / "results.csv"
    done = {lesson for lesson, _ in read_rows(path)}
    for seed in options.seeds:
        lesson = Lesson(world=folder.name, dreams="1.00", seed=seed, decisions=options.decisions)
        if lesson not in done:
            found = take(load(folder), lesson, (), options.ppo, lanes=options.lanes, episodes=options.scored,
                         first_seed=options.first_seed)  # fmt: skip
            append_row(path, lesson, found)
            print(lesson, found, flush=True)


@dataclass(frozen=True)
class Fork:
    """Real pictures up to a moment in which the only thing in sight is about to toss its coin, and both outcomes."""

    seen: np.ndarray
    """`[T, 64, 64, 3]` uint8 from the episode's first one on; the ship stayed where it was."""
    left: np.ndarray
    """`[AHEAD + 1, 64, 64, 3]` uint8: the last picture seen, and what follows if nothing else comes."""
    right: np.ndarray
    x: int
    """Column of the thing."""

    def window(self, pictures: Tensor) -> Tensor:
        """Return the part of pictures `[..., h, w]` in which the thing falls, whichever way."""
        columns = slice(max(self.x - SIDE, 0), self.x + SIDE + 1)
        return pictures[..., BRANCH_Y - ABOVE : BRANCH_Y + BELOW, columns]


def find_forks(count: int, seed: int) -> list[Fork]:
    """Return so many forks, each of another episode; the seeds are tried in turn."""
    forks: list[Fork] = []
    stay = np.zeros(1, np.int64)
    while len(forks) < count:
        world = DodgeWorld(1)
        world.seed(0, seed)
        seed += 1
        world.reset(np.array([0]))
        seen = [world.draw(np.array([0]))[0]]
        for _ in range(60):
            things = np.flatnonzero(world.kind[0] != EMPTY)
            if len(things) == 1 and world.kind[0, things[0]] == ARMED and _tosses_next(int(world.y[0, things[0]])):
                sides = [_futures(world, goes_right) for goes_right in (False, True)]
                forks.append(Fork(np.stack(seen), *sides, x=int(world.x[0, things[0]])))
                break
            if world.step(stay)[0]:
                break
            seen.append(world.draw(np.array([0]))[0])
    return forks


def _tosses_next(y: int) -> bool:
    return y < BRANCH_Y <= y + VELOCITY_Y[ARMED]


def _futures(world: DodgeWorld, goes_right: bool) -> np.ndarray:
    world = copy.deepcopy(world)
    pictures = [world.draw(np.array([0]))[0]]
    for _ in range(AHEAD + 1):  # in the first step the thing becomes a veering one, whose picture tells the side
        world.kind, world.x, world.y = advance(world.kind, world.x, world.y, np.array([[goes_right]]))
        pictures.append(world.draw(np.array([0]))[0])
    return np.stack(pictures)


@torch.no_grad()
def dream_on(dream: LoadedDream, fork: Fork, draws: int) -> Tensor:
    """Return `[draws, AHEAD + 2, 3, 64, 64]`: the last picture as the model sees it, then what it dreams of it."""
    model: Any = dream.model
    state = None
    for picture in fork.seen:
        state = observe_real(model, state, [picture], None if state is None else [0])
    state = gather(state, torch.zeros(draws, dtype=torch.int64))
    lanes, pictures = torch.arange(draws), [model.decode(state)]
    action = encode_action(model.action_space, np.zeros(draws, np.int64))
    for t in range(AHEAD + 1):
        state = model.step(state, action, normal(lanes, STREAM, torch.full_like(lanes, t), model.noise_dim)).state
        pictures.append(model.decode(state))
    return torch.stack(pictures, 1)


def distance(dream: LoadedDream, fork: Fork, draws: int) -> tuple[float, float, float]:
    """Return squared errors of a window's pixels when a thing has veered, in shares of half the gap of both futures.

    Returns:
        Of the mean draw from the nearer future: 0 is true, and 1 as far as a picture midway between both; then the
        share of draws that are nearer to a future than to that picture midway; then the share that is, and went right.
    """
    space = dream.model.observation_space
    left, right = (fork.window(encode_obs(space, side[-1:]))[0] for side in (fork.left, fork.right))
    between = (left + right) / 2
    unit = (left - between).square().sum()
    dreamed = fork.window(dream_on(dream, fork, draws)[:, -1])
    far = torch.stack([(dreamed - side).square().flatten(1).sum(1) / unit for side in (left, right, between)])
    nearest = far[:2].min(0)
    decided = nearest.values < far[2]
    right_share = ((nearest.indices == 1) & decided).double().mean()
    return float(nearest.values.mean()), float(decided.double().mean()), float(right_share)


def draw(dreams: dict[int, LoadedDream], fork: Fork, path: Path, draws: int = 3) -> None:
    """Draw both futures, and under them some dreams with each number of Gaussians."""
    from matplotlib.figure import Figure

    space = next(iter(dreams.values())).model.observation_space
    rows = {"real, left": [encode_obs(space, fork.left)], "real, right": [encode_obs(space, fork.right)]}
    for gaussians, dream in dreams.items():
        name = f"{gaussians} Gaussian{'s' if gaussians > 1 else ''}"
        rows[name] = list(dream_on(dream, fork, draws))
    strips = [(name, strip) for name, group in rows.items() for strip in group]
    figure = Figure(figsize=(AHEAD + 3.2, len(strips) + 0.3), dpi=110, layout="constrained")
    for row, (axes_row, (name, strip)) in enumerate(zip(figure.subplots(len(strips), AHEAD + 2), strips, strict=True)):
        for t, (axes, picture) in enumerate(zip(axes_row, strip, strict=True)):
            axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title("now" if t == 0 else f"+{t}", fontsize=9)
        axes_row[0].set_ylabel(name, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def report(folders: dict[int, Path], forks: Sequence[Fork], options: Options) -> None:
    """Print what is known of each dream."""
    rows = read_rows(options.out / "results.csv")
    print("| Gaussians | nats a latent number, held out | policy in the dream | real | real, each seed | "
          "error of a branching thing | went left | went right |")  # fmt: skip
    print("| --- " * 8 + "|")
    for gaussians, folder in folders.items():
        dream = load(folder)
        nats = dream.card["training"]["validation"].get("mdn_rnn", {}).get("latent", float("nan"))
        found = np.array([distance(dream, fork, options.draws) for fork in forks])
        error, spread = found[:, 0].mean(), found[:, 0].std(ddof=1) / len(found) ** 0.5
        own = [row for row in rows if row[0].world == folder.name]
        scores = [mean(own, side) for side in ("own", "real")] if own else []
        each = ", ".join(f"{value:.0f}" for value in scores[1].each) if scores else "-"
        shown = " | ".join(map(str, scores)) if scores else "- | -"
        went = found[:, 1].mean(), found[:, 2].mean()
        print(f"| {gaussians} | {nats:.3f} | {shown} | {each} | {error:.2f} ± {spread:.2f} | {went[0] - went[1]:.0%} "
              f"| {went[1]:.0%} |", flush=True)  # fmt: skip


def main(options: Options) -> None:
    """Train, score, draw and print."""
    torch.set_num_threads(1)
    folders = {gaussians: options.out / f"gaussians_{gaussians}" for gaussians in options.gaussians}
    if not options.draw:
        for gaussians in options.gaussians:
            score(make_dream(gaussians, options), options)
    forks = find_forks(options.moments, options.first_seed + 100_000)
    report(folders, forks, options)
    draw({gaussians: load(folder) for gaussians, folder in folders.items()}, forks[0], options.out / "mixtures.png")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
