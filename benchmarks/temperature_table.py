"""The temperature table of "World Models" in any dream: a policy trained from scratch in dreams at each temperature.

    python benchmarks/temperature_table.py
    python benchmarks/temperature_table.py --temperatures 0.10 1.00 --starts first --horizons 300
    python benchmarks/temperature_table.py --draw

Each row of results.csv is one training: what the policy scores in dreams at its own temperature, in dreams at
temperature 1, and in the real twin, over fresh episodes. Rows that exist are not made again, so that a table that was
interrupted goes on, and another command adds to it. A row takes about a minute of a free core. `--draw` trains nothing.

"random" draws a temperature for each episode; "penalty" takes from the reward what the members of the model disagree
about, which only some models know.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from lessons import Lesson, Mean, Row, append_row, dream_returns, mean, read_rows, take

from dreamgym.bridges.sb3_ppo import PPOConfig
from dreamgym.core.wrapper import WrapSpec
from dreamgym.hub import load

SIDES = {"own": "#4c72b0", "real": "#dd8452"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The table, and how its policies are trained."""

    dream: str = "DreamDodge-v0"
    """Id or folder."""
    variants: tuple[str, ...] = ("vae_mdn_rnn", "rssm")
    """Of a registered dream; "" is the dream itself."""
    temperatures: tuple[str, ...] = ("0.10", "0.50", "1.00", "1.15", "1.30", "random")
    """Numbers; "random", "penalty"."""
    starts: tuple[str, ...] = ("all",)
    """Where dreams of the training begin: "all", "first"."""
    horizons: tuple[int, ...] = (100,)
    """Decisions of a dream of the training."""
    seeds: tuple[int, ...] = (0, 1)
    """Of the training."""
    decisions: int = 500_000
    """Of all dreams together."""
    lanes: int = 256
    """Dreams at once."""
    weight: float = 1.0
    """Of the penalty."""
    episodes: int = 100
    """On each side, for each score."""
    first_seed: int = 730_000
    """Of these episodes; no choice was made on them."""
    out: Path = Path("runs/temperature")
    """Folder of results.csv and of the plot."""
    draw: bool = False
    """Train nothing; only draw and print what there is."""
    idle: bool = True
    """Also print what players earn who learned nothing."""
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(hidden=(64, 64), gamma=0.97, entropy=0.005))


def wrap_for(dreams: str, weight: float) -> WrapSpec:
    """Return the wrappers of what a row calls its dreams.

    >>> wrap_for("1.15", 1.0)
    [('temperature', {'temperature': 1.15})]
    """
    named: dict[str, WrapSpec] = {
        "random": [("random_temperature", {})],
        "penalty": [("penalize_disagreement", {"weight": weight})],
    }
    return named[dreams] if dreams in named else [("temperature", {"temperature": float(dreams)})]


def lessons(options: Options) -> Iterator[tuple[str, Lesson]]:
    """Yield each row's variant and lesson, a whole table for one seed before the next."""
    for seed, variant, starts, horizon, dreams in itertools.product(
        options.seeds, options.variants, options.starts, options.horizons, options.temperatures
    ):
        world = f"{options.dream} {variant}".strip()
        yield variant, Lesson(world=world, dreams=dreams, starts=starts, horizon=horizon, seed=seed,
                              decisions=options.decisions)  # fmt: skip


def fill(options: Options) -> None:
    """Train and score what the table lacks."""
    path = options.out / "results.csv"
    done = {lesson for lesson, _ in read_rows(path)}
    for variant, lesson in lessons(options):
        if lesson in done:
            continue
        score = take(
            load(options.dream, variant or None), lesson, wrap_for(lesson.dreams, options.weight), options.ppo,
            lanes=options.lanes, episodes=options.episodes, first_seed=options.first_seed,
        )  # fmt: skip
        append_row(path, lesson, score)
        print(lesson, score, flush=True)


Group = tuple[str, str, int, int]
"""World, starts, horizon and decisions of a training: one table."""


def tables(rows: Sequence[Row]) -> dict[Group, dict[str, list[Row]]]:
    """Return the rows of all seeds by table and by what was done to the dreams, cold ones first."""
    found: dict[Group, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: _order(row[0].dreams)):
        lesson = row[0]
        table = found.setdefault((lesson.world, lesson.starts, lesson.horizon, lesson.decisions), {})
        table.setdefault(lesson.dreams, []).append(row)
    return found


def _order(dreams: str) -> tuple[bool, float | str]:
    try:
        return False, float(dreams)
    except ValueError:
        return True, dreams


def print_tables(found: dict[Group, dict[str, list[Row]]]) -> None:
    """Print Markdown; the errors are those of `lessons.mean`."""
    for (world, starts, horizon, decisions), table in found.items():
        print(f"\n{world}, dreams of {horizon} decisions from {starts} situations, {decisions:,} decisions in all\n")
        print("| temperature | dream at it | dream at 1 | real | real, each seed |")
        print("| --- | --- | --- | --- | --- |")
        for dreams, rows in table.items():
            sides = [mean(rows, side) for side in ("own", "learned", "real")]
            each = ", ".join(f"{value:.0f}" for value in sides[-1].each)
            print(f"| {dreams} | {' | '.join(map(str, sides))} | {each} |")


def print_idle(options: Options) -> None:
    """Print what a player earns in dreams at each temperature who does nothing, or anything."""
    seeds = range(options.first_seed, options.first_seed + options.episodes)
    temperatures = [dreams for dreams in options.temperatures if not _order(dreams)[0]]
    print(f"\n| nobody learned | {' | '.join(temperatures)} |")
    print("| --- " * (len(temperatures) + 1) + "|")
    for variant in options.variants:
        dream = load(options.dream, variant or None)
        for policy in ("constant:0", "random"):
            row = [dream_returns(dream, policy, seeds, wrap_for(dreams, 0.0)).mean() for dreams in temperatures]
            print(f"| {variant} {policy} | {' | '.join(f'{value:.0f}' for value in row)} |", flush=True)


def draw(found: dict[Group, dict[str, list[Row]]], path: Path) -> None:
    """Draw each table: dream and real score over the temperature, bars for standard errors, a dot a training seed."""
    from matplotlib.figure import Figure

    columns = sorted({dreams for table in found.values() for dreams in table}, key=_order)
    figure = Figure(figsize=(4.4 * len(found), 3.8), dpi=110, layout="constrained")
    for axes, ((world, starts, horizon, decisions), table) in zip(
        figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0], found.items(), strict=True
    ):
        for (side, color), shift in zip(SIDES.items(), (-0.08, 0.08), strict=True):
            means: list[Mean] = [mean(rows, side) for rows in table.values()]
            places = [columns.index(dreams) + shift for dreams in table]
            label = {"own": "in the dream, at its temperature", "real": "in the real env"}[side]
            axes.errorbar(places, [m.value for m in means], [m.error for m in means], color=color, marker="s",
                          markersize=5, linestyle="none", capsize=3, label=label)  # fmt: skip
            for place, m in zip(places, means, strict=True):
                axes.plot([place] * len(m.each), m.each, "o", color=color, markersize=3, alpha=0.45)
        axes.set_xticks(range(len(columns)), columns)
        title = f"{world}, {decisions:,} decisions\n{horizon} in a dream, from {starts} situations"
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xlabel("temperature of the dreams that it learned in")
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("return of an episode")
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(options: Options) -> None:
    """Fill, print and draw."""
    torch.set_num_threads(1)
    if not options.draw:
        fill(options)
    found = tables(read_rows(options.out / "results.csv"))
    print_tables(found)
    if options.idle:
        print_idle(options)
    curves = {group: table for group, table in found.items() if len(table) > 1}
    draw(curves or found, options.out / "temperature.png")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
