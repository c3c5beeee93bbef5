"""Which of several dreams of the same recordings stays true for longer, and sees endings coming?

    python benchmarks/compare_dreams.py pretrained/dodge_vae_mdn_rnn pretrained/dodge_rssm --data data/dodge

Prints, for each dream, the open-loop error over the horizon as a share of the error of repeating the last frame, the
error of drawing what is seen, and how endings are foreseen. About two minutes on one core.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from dreamgym.data.episodes import Dataset
from dreamgym.evaluation.open_loop import open_loop
from dreamgym.hub import load

SHOWN = (1, 2, 4, 8, 16, 32)


@dataclass(kw_only=True)
class Options:
    """What is compared."""

    dreams: tyro.conf.Positional[tuple[str, ...]]
    """Ids or folders."""
    data: tuple[Path, ...]
    """Recordings; only the share that training held out is used."""
    holdout: float = 0.05
    windows: int = 512
    seed: int = 0
    json: bool = False


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    held_out = Dataset(options.data).split(options.holdout)[1]
    found = {
        name: open_loop(load(name).model, held_out, horizon=max(SHOWN), windows=options.windows, seed=options.seed)
        for name in options.dreams
    }
    if options.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        ratios = ", ".join(f"{h}: {figures['error'][h - 1] / figures['still'][h - 1]:.2f}" for h in SHOWN)
        seen = sum(figures["posterior"]) / len(figures["posterior"])
        print(f"{name}\n  error after so many dreamed steps / of a still picture: {ratios}")
        print(
            f"  squared error of a pixel it sees: {seen:.5f}; "
            f"reward error after 1 step: {figures['reward_error'][0]:.3f}"
        )
        print(
            f"  endings in {figures['steps']:,} steps: {figures['endings']}, expected {figures['expected']:.1f}; "
            f"recall {figures['recall']:.2f}, false alarms {figures['false_alarms']:.5f}"
        )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
