"""`dreamgym report`: how far a dream can be trusted, on one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from dreamgym.cli.output import print_json, print_table


def report(
    dream: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")],
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None,
    variant: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None,
    data: tuple[Path, ...] = (),
    holdout: float = 0.05,
    policy: tuple[Path, ...] = (),
    episodes: int = 20,
    record: int = 96,
    windows: int = 96,
    draws: int = 19,
    horizon: int = 100,
    exploitation: bool = False,
    decisions: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    seed: int = 8_000_000,
    workers: int = 1,
    card: bool = False,
    json: bool = False,
) -> int:
    """Measure how far a dream can be trusted and write one page with plots, and the figures as JSON and Markdown.

    Args:
        dream: id of a registered dream (see `dreamgym list`), or a folder that `dreamgym train` wrote.
        out: folder of report.html, report.json and report.md; by default runs/report/ and the dream's name.
        variant: which variant of a registered dream; by default its first.
        data: recordings; by default fresh episodes of the real env are recorded, half of them by the shipped policy.
        holdout: share of the recordings that training held out; 1 for recordings that it never saw.
        policy: files of further policies to compare dream and real returns of, such as snapshots of a training.
        episodes: real and dreamed episodes of each policy.
        record: how many episodes are recorded if there are no recordings.
        windows: stretches of held-out episodes that are dreamed with closed eyes.
        draws: dreams of each.
        horizon: steps of each.
        exploitation: also train a policy in the dream for longer and longer, and score its snapshots; takes minutes.
        decisions: of that training; by default twice those that the dream's own policy took.
        seed: the report's real episodes are seeded from this on; no choice may have been made on these.
        workers: processes that play real episodes.
        card: put the key figures on the dream's card.
        json: print JSON: the key figures.
    """
    from dreamgym.hub import find_folder, load
    from dreamgym.report.config import ReportConfig
    from dreamgym.report.document import headline
    from dreamgym.report.drawing import check_matplotlib
    from dreamgym.report.run import measure
    from dreamgym.report.write import key_figures, put_on_card, write

    check_matplotlib()
    config = ReportConfig(
        horizon=horizon, windows=windows, draws=draws, record=record, episodes=episodes, seed=seed
    )  # fmt: skip
    loaded = load(dream, variant)
    figures, dreams = measure(
        dream, variant=variant, data=data, holdout=holdout, policies=policy, exploitation=exploitation,
        decisions=decisions, workers=workers, config=config, say=_be_silent if json else _say,
    )  # fmt: skip
    name = loaded.name if variant is None else f"{loaded.name}-{variant}"
    paths = write(figures, Path("runs/report") / name if out is None else out, loaded.model, dreams)
    if card:
        put_on_card(figures, find_folder(dream, variant))
    if json:
        print_json({**key_figures(figures), "files": paths})
        return 0
    for opening, line in headline(figures):
        print(f"{opening}: {line}.")
    rows: list[list[str]] = [
        [{True: "yes", False: "no", None: "-"}[row["holds"]], row["claim"], row["figures"]]
        for row in figures["verdict"]
    ]
    print_table(["holds", "for", "figures"], rows)
    for row in figures["missing"]:
        print(f"Not measured: {row['part']}. {row['why']}.")
    print(f"Written in {figures['seconds'] / 60:.1f} minutes: {', '.join(map(str, paths.values()))}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _be_silent(text: str) -> None:
    pass
