"""A report in words, tables and plots, before it becomes a page or Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreamgym.report.exploitation import MARGIN
from dreamgym.report.foresight import ALARM
from dreamgym.report.outside import FARTHEST
from dreamgym.report.verdict import in_words


@dataclass(frozen=True)
class Table:
    """Rows of text under a header."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Plot:
    """The plots or strips with these names, side by side, those of them that there are."""

    names: tuple[str, ...]
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it: paragraphs, tables, plots."""

    title: str
    parts: Sequence[str | Table | Plot]


def document(report: Mapping[str, Any]) -> list[Section]:
    """Return the sections of a report, without the verdict, which stands above them."""
    sections = [_horizon(report), _foresight(report), _transfer(report), _exploitation(report), _outside(report)]
    sections += [_speed(report), _method(report)]
    return [section for section in sections if section is not None]


def headline(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the verdict says: a word that opens a line, and the line."""
    words = in_words(report["verdict"])
    openings = (("trustworthy", "Trustworthy for"), ("not", "Not for"), ("unknown", "Not measured"))
    return [(opening, "; ".join(words[name])) for name, opening in openings if words[name]]


def verdict_table(report: Mapping[str, Any]) -> list[tuple[bool | None, str, str, str]]:
    """Return a row for each rule: whether it holds, the claim, its figures, and the rule."""
    return [(row["holds"], row["claim"], row["figures"], row["condition"]) for row in report["verdict"]]


def subtitle(report: Mapping[str, Any]) -> str:
    """Return what the dream is, in one line."""
    dream, trained = report["dream"], report["dream"]["trained_on"]
    parts = [
        dream["family"],
        f"{dream['weights']:,} weights" if dream["weights"] else "",
        f"a dream of {dream['real']}" if dream["real"] else "",
        f"learned from {trained['steps']:,} steps of {trained['episodes']:,} episodes" if trained else "",
    ]
    return ", ".join(part for part in parts if part) + "."


def _horizon(report: Mapping[str, Any]) -> Section | None:
    if "horizon" not in report:
        return None
    part = report["horizon"]
    kinds = [kind for kind in ("observations", "features", "reward") if kind in part]
    rows = []
    for kind in kinds:
        curves = part[kind]
        for h in (1, 2, 5, 10, 20, 50, 100):
            if (place := _at(curves["after"], h)) is not None:
                cells = [number(curves[name][place]) for name in ("dream", "best", "still", "other", "other_best")]
                rows.append([kind, f"{curves['after'][place]}", *cells, share(curves["covered"][place])])
    chance = (
        f"Each stretch was dreamed {part['draws']} times. Squared error punishes a dream that is honestly unsure, so "
        "the error of the best draw stands beside it, and how often the truth lies between the least and the greatest "
        f"draw: {part['nominal_coverage']:.0%} of the time, if the dream holds possible what is possible."
    )
    if not part["by_chance"]:
        chance += " This dream leaves nothing to chance: all draws are alike."
    return Section("With closed eyes", [
        f"{part['windows']} stretches of held-out episodes, at most one of each. The model sees the first "
        f"{report['config']['context']} observations, then dreams on from the recorded actions alone. Errors are "
        "squared, in shares of the data's variance: 1 is the error of guessing the mean, 2 that of any other moment. "
        "The error of the reward is absolute, summed since the eyes were closed, in the reward's units.",
        Plot(tuple(f"horizon {kind}" for kind in kinds), "Error over the horizon with its 95% interval, beside two "
             "dreams that know nothing: the last moment repeated, and a moment of another episode. The dotted upright "
             "line is the last step up to which the dream is better than both."),
        chance,
        Plot(("coverage",), "How often the truth lies within the draws."),
        Plot(("best", "median", "worst"), "Real above (or grey), dreamed below (or blue): the stretch whose dream was "
             "best, the median one and the worst, each dreamed once."),
        Table(("error of", "steps", "a dream", "best draw", "last moment", "another episode", "best of those",
               "covered"), rows),
    ])  # fmt: skip


def _foresight(report: Mapping[str, Any]) -> Section | None:
    if "reward" not in report:
        return None
    reward, endings = report["reward"], report["endings"]
    quantiles = ", ".join(f"{float(q):.0%}: {number(x)}" for q, x in reward["error_quantiles"].items())
    rows = [
        ["reward: mean absolute error", estimate(reward["mean_error"])],
        ["reward: quantiles of the absolute error", quantiles],
        ["reward: expected minus real", estimate(reward["bias"])],
        ["endings in the data", f"{endings['endings']} of {endings['steps']:,} steps, {endings['episodes']} episodes"],
        ["endings expected / endings", estimate(endings["rate"])],
        ["recall of endings", estimate(endings["recall"])],
        ["precision of alarms", estimate(endings["precision"])],
        ["false alarms an episode", estimate(endings["false_alarms"])],
    ]
    return Section("Rewards and endings, one step ahead", [
        "The model is up to date until one step before, and says what the next step earns and whether it ends the "
        f"episode. A probability above {ALARM:g} is an alarm.",
        Plot(("reward", "endings"), "Calibration: steps in bins of what was expected, beside what came. On the dotted "
             "line the two agree."),
        Table(("figure", "value"), rows),
    ])  # fmt: skip


def _transfer(report: Mapping[str, Any]) -> Section:
    part = report["transfer"]
    real = "spearman" in part
    sides = ("dream", "real", "gap") if real else ("dream",)
    rows = [[row["name"], *(estimate(row[side]) for side in sides)] for row in part["policies"]]
    header = ("policy", "in the dream", "real", "dream - real") if real else ("policy", "in the dream")
    begin = (
        "each dreamed episode begins in the first situation of the real one with the same seed"
        if real
        else "each begins where a recorded episode began"
    )
    words: list[str | Table | Plot] = [
        f"{len(part['policies'])} policies, from random to trained, {part['episodes']} episodes each; {begin}."
    ]
    if real:
        best = part["best"]
        words += [
            Plot(("transfer",), "Each point is a policy, with the 95% intervals of its means."),
            f"Spearman's rank correlation is {estimate(part['spearman'])}, Pearson's {estimate(part['pearson'])} "
            f"(policies and their episodes resampled). The dream likes “{best['name']}” best and promises "
            f"{estimate(best['gap'])} more than it earns, {share(best['gap_share'])} of the range of real returns; "
            f"the policy that really is best earns {share(best['regret'])} of the range more. Over all policies dream "
            f"and real mean differ by {share(part['score_error'])} of the range.",
        ]
    return Section("Policies in the dream and in reality", [*words, Table(header, rows)])


def _exploitation(report: Mapping[str, Any]) -> Section | None:
    if "exploitation" not in report:
        return None
    part = report["exploitation"]
    sides = [side for side in ("dream", "real", "gap") if side in part["rows"][0]]
    rows = [[f"{row['decisions']:,}", *(estimate(row[side]) for side in sides)] for row in part["rows"]]
    parted = (
        f"They part at {part['parted']:,} decisions" if part["parted"] is not None else "They did not part by the end"
    )
    names = {"dream": "in the dream", "real": "real", "gap": "dream - real"}
    return Section("Trained in the dream for longer and longer", [
        Plot(("exploitation",), "Mean returns of snapshots of one training with PPO, 95% intervals."),
        f"{parted}. They have where the whole interval of dream minus real lies above {number(part['margin'])}, "
        f"{MARGIN:.0%} of the range of real returns, there and in all later snapshots.",
        Table(("decisions", *(names[side] for side in sides)), rows),
    ])  # fmt: skip


def _outside(report: Mapping[str, Any]) -> Section | None:
    if "map" not in report:
        return None
    part = report["map"]
    rows = [
        [name, f"{row['episodes']}", f"{row['steps']:,}", estimate(row["error"])]
        for name, row in part["drivers"].items()
    ]
    words: list[str | Table | Plot] = [
        Plot(("map error", "map disagreement"), "Held-out steps by the two directions in which features vary most "
             f"({part['shown_variance']:.0%} of the variance): the error of one dreamed step, in shares of the "
             "variance, and, where the model has several members, their disagreement."),
    ]  # fmt: skip
    if "disagreement" in part:
        words.append(
            f"Rank correlation of disagreement and error over steps: {number(part['disagreement_and_error'])}."
        )
    if "outside" in report:
        outside = report["outside"]
        words.append(
            f"Of the shipped policy's {outside['steps']:,} real steps ({outside['episodes']} episodes) "
            f"{estimate(outside['share'], '.1%')} lie outside the data: farther from the nearest of "
            f"{outside['known']:,} recorded situations than {FARTHEST:.0%} of held-out steps that the policy had no "
            "part in."
        )
    return Section("Where not to trust", [
        *words,
        Table(("who acted", "episodes", "steps", "error of one step"), rows),
    ])  # fmt: skip


def _speed(report: Mapping[str, Any]) -> Section:
    part = report["speed"]
    rows = [[f"{row['lanes']:,}", *(f"{row[name]:,.0f}" if row[name] else "-" for name in ("torch", "pixels", "real"))]
            for row in part["rows"]]  # fmt: skip
    return Section("Speed", [
        f"Steps a second of {part['threads']} thread (torch {part['torch']}), measured in turns in the same run; the "
        "real env runs once, without lanes.",
        Table(("dreams at once", "features", "pictures", "real env"), rows),
    ])  # fmt: skip


def _method(report: Mapping[str, Any]) -> Section:
    rows = [[use, f"{row['first']:,} to {row['first'] + row['count'] - 1:,}", f"{row['count']}"]
            for use, row in report["seeds"].items()]  # fmt: skip
    chosen = ", ".join(f"{seed:,}" for seed in report["selection"])
    words: list[str | Table | Plot] = [
        "Intervals are the 2.5% to 97.5% range of 1,000 bootstrap resamples of whole episodes.",
        "No choice was made on these seeds of the real env."
        + (f" Those that made, chose and scored the dream begin at {chosen}." if chosen else ""),
        Table(("seeds of", "from, to", "episodes"), rows),
    ]
    if "data" in report:
        data = report["data"]
        drivers = ", ".join(f"{name} ({row['episodes']})" for name, row in data["drivers"].items())
        where = f"of {', '.join(data['given'])}" if data["given"] else "recorded for this report"
        words.append(f"{data['episodes']} held-out episodes, {data['steps']:,} steps, {where}; who acted: {drivers}.")
    for row in report["missing"]:
        words.append(f"Not measured: {row['part']}. {row['why']}.")
    words.append(
        f"dreamgym {report['dream']['dreamgym']}, torch {report['dream']['torch']}, weights "
        f"{report['dream']['weights_sha256'][:12] or 'in memory'}, {report['seconds'] / 60:.1f} minutes."
    )
    return Section("How this was measured", words)


def number(x: float | None) -> str:
    """Return a number with three digits; a dash for none."""
    if x is None or x != x:
        return "-"
    return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def share(x: float | None) -> str:
    """Return a share in percent; a dash for none."""
    return "-" if x is None or x != x else f"{x:.1%}"


def estimate(row: Mapping[str, float | None], form: str = "") -> str:
    """Return a value with its interval, such as `0.98 [0.87, 1.00]`."""
    parts = [row["value"], row["low"], row["high"]]
    value, low, high = (number(x) if not form or x is None else format(x, form) for x in parts)
    return value if "-" in (value, low, high) else f"{value} [{low}, {high}]"


def _at(after: Sequence[int], h: int) -> int | None:
    """Return the place of the step nearest to h; None if the curve ends before."""
    if not after or after[-1] < 0.9 * h:
        return None
    return min(range(len(after)), key=lambda place: abs(after[place] - h))
