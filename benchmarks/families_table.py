"""World-model families side by side on the same episodes: with closed eyes, and one step ahead.

    python benchmarks/families_table.py
    python benchmarks/families_table.py --dreams DreamDodge-v0 --windows 96

For each dream, fresh episodes of its real env are recorded, half by the scripted drivers and half by the shipped
policies of all its variants in equal shares, and every variant is measured on all of them with the functions of
`dreamgym report`. What `--out` holds is not made again. About ten minutes on a free core, most of them CarRacing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro

from dreamgym.data.collect import collect
from dreamgym.data.drivers import find_drivers
from dreamgym.data.episodes import Dataset
from dreamgym.envs.twin import real_id
from dreamgym.evaluation.driver import PolicyDriver
from dreamgym.hub import load
from dreamgym.registry import DREAMS
from dreamgym.report.config import FIRST_SEED
from dreamgym.report.foresight import ending_figures, reward_figures
from dreamgym.report.horizon import horizon_figures
from dreamgym.report.one_step import one_step_ahead
from dreamgym.report.open_loop import dream_on
from dreamgym.report.run import tidy

SHOWN = (1, 10, 50)
"""Steps with closed eyes; of pictures, the nearest ones that were compared."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured, and how much of it."""

    dreams: tuple[str, ...] = ("DreamDodge-v0", "DreamCarRacing-v0", "DreamCartPole-v0")
    """Registered ids; all variants of each."""
    episodes: int = 48
    """Recorded of each real env."""
    windows: int = 48
    """Stretches that are dreamed, at most one of each episode."""
    draws: int = 19
    horizon: int = 50
    seed: int = FIRST_SEED + 600_000
    """Of the recordings; no choice was made on them."""
    out: Path = Path("runs/families")
    """Folder of the recordings, and of a JSON for each variant."""


def record(dream: str, options: Options) -> Dataset:
    """Return the episodes on which all variants of a dream are measured."""
    folder = options.out / dream / "data"
    variants = [name for name in DREAMS[dream].variants if load(dream, name).ships_policy]
    opened = load(dream)
    scripted: dict[str, float] = dict(find_drivers(real_id(opened))[1])
    shares = {name: share / sum(scripted.values()) for name, share in scripted.items()}
    policies = {f"policy of {name}": partial(PolicyDriver, dream, "shipped", name) for name in variants}
    shares |= {name: 1 / len(policies) for name in policies}
    collect(real_id(opened), folder, episodes=options.episodes, driver=shares, drivers=policies, seed=options.seed,
            max_episode_steps=opened.card.get("max_episode_steps"), progress=False)  # fmt: skip
    return Dataset(folder)


def measure(model: Any, dataset: Dataset, options: Options) -> dict[str, Any]:
    """Return a report's figures of a model on some episodes: `horizon`, `reward`, `endings`."""
    steps = one_step_ahead(model, dataset)
    dreams = dream_on(model, dataset, steps, horizon=options.horizon, windows=options.windows, draws=options.draws)
    return tidy({"horizon": horizon_figures(dreams), "reward": reward_figures(steps), "endings": ending_figures(steps)})


def fill(options: Options) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the figures of each variant of each dream; those on disk are read."""
    found = {}
    for dream in options.dreams:
        for variant in DREAMS[dream].variants:
            path = options.out / dream / f"{variant}.json"
            if not path.exists():
                loaded = load(dream, variant)
                model: Any = loaded.model
                figures = measure(model, record(dream, options), options)
                figures["weights"] = sum(p.numel() for p in model.parameters())
                figures["score"] = loaded.card.get("scores", {}).get("real")
                path.write_text(json.dumps(figures))
                print(path, flush=True)
            found[dream, variant] = json.loads(path.read_text())
    return found


def at(curves: dict[str, Any], name: str, step: int) -> str:
    """Return a curve's value after about so many steps; "-" if none was told within a fifth of it."""
    near = [i for i, after in enumerate(curves["after"]) if abs(after - step) <= step / 5]
    if not near:
        return "-"
    value = curves[name][min(near, key=lambda i: abs(curves["after"][i] - step))]
    return "-" if value is None else f"{value:.2g}"


def row(dream: str, variant: str, figures: dict[str, Any]) -> list[str]:
    """Return the cells of a variant."""
    horizon, endings, reward = (figures[part] for part in ("horizon", "endings", "reward"))
    curves = horizon.get("observations", horizon["features"])
    covered = [value for value in horizon["features"]["covered"][:20] if value is not None]
    told = endings["endings"] > 0
    score = figures["score"]
    return [
        dream,
        variant,
        f"{figures['weights']:,}",
        " / ".join(at(curves, "dream", step) for step in SHOWN),
        " / ".join(at(curves, "best", step) for step in SHOWN),
        " / ".join(at(curves, "still", step) for step in SHOWN),
        f"{curves['trusted']} of {curves['after'][-1] if curves['after'] else 0}",
        f"{sum(covered) / len(covered):.0%}" if covered else "-",
        f"{reward['calibration_error'] / max(reward['scale'], 1e-12):.1%}",
        f"{endings['rate']['value']:.2f} of {endings['endings']}" if told else "none came",
        f"{_share(endings['recall']['value'])} / {_share(endings['precision']['value'])}" if told else "-",
        f"{score['mean']:.0f} ± {score['std'] / score['episodes'] ** 0.5:.0f}" if score else "-",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


HEADER = (
    "dream", "family", "weights", "a dream's error after " + " / ".join(map(str, SHOWN)), "of the best draw",
    "of the last moment", "better than it for", "covered", "reward off by", "endings expected / came",
    "recall / precision", "shipped policy, real",
)  # fmt: skip


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the table."""
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print(to_markdown([row(dream, variant, figures) for (dream, variant), figures in fill(options).items()]))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
