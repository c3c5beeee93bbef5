"""The figures of `dreamgym bench` for people: ratios first, each aim beside what was reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dreamgym.bench.planning import print_planning
from dreamgym.cli.output import print_table

TITLES = {
    "limit": "bare products",
    "eager": "plain eager",
    "step": "step",
    "quiet": "step without info",
    "loop": "member by member",
    "bf16": "step bf16",
    "simulator": "simulator",
    "compiled": "compiled",
    "graph": "CUDA graph",
    "torch": "env torch",
    "numpy": "env numpy",
    "sb3": "SB3 bridge",
    "pixels": "env pixels",
    "real": "real env",
}


def aims(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the aims that were set for CarRacing's models and ensembles, on one thread, with the worst of each."""
    ensemble = figures["family"] == "MlpEnsemble"
    if figures["device"] != "cpu" or not (ensemble or figures["real"] == "CarRacing64-v0"):
        return []
    many = [row for row in figures["rows"] if row["lanes"] >= 256]
    rows = {row["lanes"]: row for row in figures["rows"]}
    listed: list[tuple[str, float, list[Any], Callable[[Any], float | None]]]
    if ensemble:
        listed = _ensemble_aims([row for row in many if row["lanes"] >= 1024])
    else:
        listed = _rssm_aims(figures, many, rows) if figures["family"] == "Rssm" else _paper_aims(many, rows)
    found = []
    for what, aim, among, ratio in listed:
        reached = [value for row in among if (value := ratio(row)) is not None]
        if reached:
            found.append({"what": what, "aim": aim, "reached": min(reached), "met": min(reached) >= aim})
    return found


def _paper_aims(many: list[Any], rows: dict[int, Any]) -> list[tuple[str, float, list[Any], Any]]:
    return [
        ("step / bare products, 256 lanes and more", 1.3, many, lambda row: row["of_limit"]["step"]),
        ("env torch / step, 256 lanes and more", 0.85, many, lambda row: _ratio(row, "torch", "step")),
        ("env torch / real env, 256 lanes and more", 300, many, lambda row: row["of_real"].get("torch")),
        ("SB3 bridge / simulator, 4096 lanes", 1 / 1.1, _some(rows, 4096), lambda row: _ratio(row, "sb3", "simulator")),
        ("pixels / real env, 64 lanes", 7, _some(rows, 64), lambda row: row["of_real"].get("pixels")),
        ("pixels / real env, one lane", 3, _some(rows, 1), lambda row: row["of_real"].get("pixels")),
        ("step / plain eager, one lane", 1.5, _some(rows, 1), lambda row: _ratio(row, "step", "eager")),
    ]


def _rssm_aims(figures: Any, many: list[Any], rows: dict[int, Any]) -> list[tuple[str, float, list[Any], Any]]:
    training = figures.get("training", [])
    return [
        ("step / bare products, 256 lanes and more", 0.5, many, lambda row: row["of_limit"]["step"]),
        ("pictures a second, one lane", 50, _some(rows, 1), lambda row: row["steps_per_second"].get("pixels")),
        ("training frames a second, bf16", 1200, training, lambda row: row["frames_per_second"].get("bf16")),
    ]


def _ensemble_aims(many: list[Any]) -> list[tuple[str, float, list[Any], Any]]:
    return [
        ("step / bare products, 1024 lanes and more", 0.6, many, lambda row: row["of_limit"]["step"]),
        ("step / member by member, 1024 lanes and more", 1.0, many, lambda row: _ratio(row, "step", "loop")),
    ]


def print_bench(figures: dict[str, Any]) -> None:
    """Print everything that was measured."""
    rows = figures["rows"]
    print(f"{figures['dream']} ({figures['family']}), {figures['device']}, one thread, torch {figures['torch']}")
    print("\nshare of the limit: the bare float32 matrix products of one step, by torch.mm")
    _print(rows, "of_limit", "{:.2f}", skip=("limit", "real"))
    if rows[0]["of_real"]:
        print(f"\ntimes the real env, {figures['real']}, one of it on one core")
        _print(rows, "of_real", "{:.1f}", skip=("limit", "eager", "real"))
    print("\nsteps a second, all lanes together; a reset of all lanes in units of a step")
    _print(rows, "steps_per_second", "{:,.0f}", extra=("reset", "reset_in_steps", "{:.2f}"))
    if listed := figures.get("aims"):
        print("\naims, and the worst that was reached")
        table = [
            [aim["what"], f"{aim['aim']:.2f}", f"{aim['reached']:.2f}", "met" if aim["met"] else "missed"]
            for aim in listed
        ]
        print_table(["", "aim", "reached", ""], table)
    if "memory_by_lanes" in figures:
        print("\nmemory by lanes: state of one lane, and the peak of the whole process so far")
        print_table(
            ["lanes", "bytes a lane", "peak MB"],
            [
                [f"{r['lanes']:.0f}", f"{r['bytes_per_lane']:,.0f}", f"{r['peak_mb']:,.0f}"]
                for r in figures["memory_by_lanes"]
            ],
        )
        print("\ntime and memory by length of the run, 64 lanes")
        print_table(
            ["steps", "us a step", "peak MB"],
            [
                [f"{r['steps']:,}", f"{r['microseconds']:.0f}", f"{r['peak_mb']:,.0f}"]
                for r in figures["memory_by_steps"]
            ],
        )
    for row in figures.get("training", []):
        rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in row["frames_per_second"].items())
        print(f"\ntraining stage {row['stage']!r}, frames a second, forward and backward: {rates}")
        if "peak_mb" in row:
            print(f"at a peak of {row['peak_mb']:,.0f} MB")
    if imagined := figures.get("imagined"):
        size = f"{imagined['lanes']} rollouts of {imagined['horizon']} steps"
        print(f"\nimagined steps a second with gradients, {size}: {imagined['steps_per_second']:,.0f}")
    if "planning" in figures:
        print_planning(figures["planning"])
    if "drift" in figures:
        print("\nmean absolute difference from float32, and that of two dreams with different noise")
        keys = ("features", "unrelated_features", "reward", "unrelated_reward")
        print_table(
            ["step", "features", "unrelated", "reward", "unrelated"],
            [[str(r["step"]), *(f"{r[key]:.4f}" for key in keys)] for r in figures["drift"]],
        )


def _print(
    rows: Any, key: str, form: str, skip: tuple[str, ...] = (), extra: tuple[str, str, str] | None = None
) -> None:
    names = [name for name in TITLES if name not in skip and any(name in row[key] for row in rows)]
    header = ["lanes", *(TITLES[name] for name in names)]
    table = [
        [str(row["lanes"]), *(form.format(row[key][name]) if name in row[key] else "" for name in names)]
        for row in rows
    ]
    if extra:
        header.append(extra[0])
        for row, cells in zip(rows, table, strict=True):
            cells.append(extra[2].format(row[extra[1]]))
    print_table(header, table)


def _some(rows: dict[int, Any], lanes: int) -> list[Any]:
    return [rows[lanes]] if lanes in rows else []


def _ratio(row: Any, name: str, other: str) -> float:
    return row["steps_per_second"][name] / row["steps_per_second"][other]
