"""Draws what the scripts beside this one wrote, and prints it as a table.

    python benchmarks/libraries/draw.py --out runs/libraries

Writes libraries.png beside results.csv: what policies score in the real twin that one library trained in the dream, a
dot a training seed.
"""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw."""

    out: Path = Path("runs/libraries")
    """Folder of results.csv, and of the picture."""
    dream: str = "DreamDodge-v0"


def main(options: Options) -> None:
    """Draw and print."""
    with open(options.out / "results.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dream"] == options.dream]
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        found[f"{row['library']}, {row['algorithm']}"].append(row)
    found = dict(sorted(found.items(), key=lambda item: -_mean(item[1], "real_return")))
    best = max(_mean(runs, "real_return") for runs in found.values())
    print("| library | seeds | dream | real, mean of the seeds | each seed | of the best | steps/s | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, runs in found.items():
        real = _mean(runs, "real_return")
        each = ", ".join(f"{float(run['real_return']):.0f}" for run in runs)
        print(
            f"| {name} | {len(runs)} | {_mean(runs, 'dream_return'):.0f} | {real:.0f} | {each} | {real / best:.2f} | "
            f"{_mean(runs, 'steps_per_second'):,.0f} | {_mean(runs, 'seconds'):.0f} |"
        )
    draw(found, options)


def draw(found: dict[str, list[dict[str, str]]], options: Options) -> None:
    """Draw a row for each library, the best on top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.45 * len(found) + 1), dpi=150, layout="constrained")
    axes = figure.subplots()
    for place, runs in enumerate(reversed(found.values())):
        axes.barh(place, _mean(runs, "real_return"), color="#4c72b0", alpha=0.35, height=0.6)
        axes.plot([float(run["real_return"]) for run in runs], [place] * len(runs), "o", color="#4c72b0", markersize=5)
    axes.set_yticks(range(len(found)), list(reversed(found)))
    axes.set_xlabel(f"return in the real twin of {options.dream}, a dot a training seed")
    axes.grid(axis="x", color="#e5e5e5")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.savefig(options.out / "libraries.png")


def _mean(runs: list[dict[str, str]], column: str) -> float:
    return statistics.fmean(float(run[column]) for run in runs)


if __name__ == "__main__":
    main(tyro.cli(Options))
